//! UTM on WGS 84: from coordinates in metres to degrees.

use proj4rs::Proj;
use proj4rs::transform::transform;

/// A zone of UTM.
pub(crate) struct Utm {
    metres: Proj,
    degrees: Proj,
}

impl Utm {
    /// The zone with this EPSG code: 326zz are the zones of the northern hemisphere, 327zz those of the southern.
    pub(crate) fn new(epsg: u16) -> Option<Self> {
        let (zone, south) = (epsg % 100, if epsg >= 32_700 { " +south" } else { "" });
        let metres = Proj::from_proj_string(&format!("+proj=utm +zone={zone}{south} +datum=WGS84 +units=m +no_defs"));
        let degrees = Proj::from_proj_string("+proj=longlat +datum=WGS84 +no_defs");
        Some(Self { metres: metres.ok()?, degrees: degrees.ok()? })
    }

    /// Longitude and latitude of a point.
    pub(crate) fn degrees(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let mut point = (x, y, 0.0);
        transform(&self.metres, &self.degrees, &mut point).ok()?;
        let (longitude, latitude) = (point.0.to_degrees(), point.1.to_degrees());
        (longitude.is_finite() && latitude.is_finite()).then_some((longitude, latitude))
    }
}
