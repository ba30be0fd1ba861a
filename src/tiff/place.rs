//! Where the image of a real TIFF lies on the ground.

use super::read::{Head, Value, number, numbers};
use super::tags::{
    GEO_KEY_DIRECTORY, IMAGE_LENGTH, IMAGE_WIDTH, MODEL_PIXEL_SCALE, MODEL_TIEPOINT, MODEL_TRANSFORMATION,
};
use crate::geo::{GeoTags, Georeference, georeference_of_tags};

/// GDAL's tag of rational polynomial coefficients.
const RPC_COEFFICIENT: u16 = 50_844;

impl Head {
    /// Columns and rows of the file's first image.
    pub(crate) fn shape(&self) -> Option<(u32, u32)> {
        let first = self.directories.first()?;
        let of = |tag: u16| number(first, tag).and_then(|number| u32::try_from(number).ok());
        of(IMAGE_WIDTH).zip(of(IMAGE_LENGTH))
    }

    /// Where it lies; `None` where the file does not say, or GDAL may make something else of what it says.
    pub(crate) fn georeference(&self) -> Option<Georeference> {
        let first = self.directories.first()?;
        let doubles = |tag: u16| match first.get(&tag) {
            Some(Value::Reals(reals)) => Some(reals.clone()),
            Some(_) => None,
            None => Some(Vec::new()),
        };
        let keys = numbers(first, GEO_KEY_DIRECTORY)?.iter().map(|number| u16::try_from(*number).ok());
        let keys = keys.collect::<Option<_>>()?;
        georeference_of_tags(&GeoTags {
            pixel_scale: doubles(MODEL_PIXEL_SCALE)?,
            tiepoints: doubles(MODEL_TIEPOINT)?,
            transformation: doubles(MODEL_TRANSFORMATION)?,
            keys,
            has_rpc: first.contains_key(&RPC_COEFFICIENT),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiff::{Image, Parsed, Pieces, SampleType, Tiff, parse};

    #[test]
    fn what_a_virtual_tiff_says_is_read_back() {
        for transform in [[10.0, 0.0, 600_000.0, 0.0, -10.0, 5_300_040.0], [9.0, 1.0, 5.0, 2.0, -8.0, 7.0]] {
            let georeference = Some(Georeference { epsg: 32_631, transform });
            let image = Image {
                levels: vec![(300, 200), (150, 100)],
                sample: SampleType { bits: 16, signed: false },
                colours: vec![None],
                palette: None,
                georeference: georeference.clone(),
                metadata: Vec::new(),
                tile: 64,
            };
            let tiff = Tiff::new(&image).unwrap();
            let mut bytes = vec![0; tiff.size() as usize];
            tiff.read(0, &mut bytes);
            let mut pieces = Pieces::new(tiff.size());
            pieces.add(0, bytes.into());
            let Parsed::Done(head) = parse(&pieces).unwrap() else { panic!("all is there") };
            assert_eq!((head.shape(), head.georeference()), (Some((300, 200)), georeference));
            assert_eq!(head.directories.len(), 2);
        }
    }
}
