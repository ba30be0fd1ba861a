//! Codestreams that OpenJPEG makes are decoded as OpenJPEG decodes them. The input chooses the structure and the image; not
//! the tile-parts, of which OpenJPEG's encoder loses packets where tiles are small.
#![no_main]

use std::ffi::{c_char, c_void};
use std::ptr;

use openjpeg_sys as opj;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let choice = Choice::of(&mut input);
    if !choice.is_safe() {
        return;
    }
    let Some(bytes) = encode(&choice, &input) else { return };
    for k in [0, choice.reduce] {
        let Some(components) = decode(&bytes, k) else { continue };
        for (index, right) in components.iter().enumerate() {
            let ours = match vsitlm::fuzz::samples(&bytes, k as u8, index as u16, choice.window) {
                Ok(ours) => ours,
                // Its encoder cuts code-blocks a byte too early now and then, where that costs a bit or two.
                Err(error) if choice.is_lossy() && error.contains("segmentation symbol") => continue,
                Err(error) => panic!("{choice:?} at 1/2^{k}: {error}"),
            };
            assert_eq!((ours.width, ours.height), (right.width, right.height), "{choice:?} at 1/2^{k}");
            for (row, got) in ours.rows.clone().zip(ours.samples.chunks(ours.columns.len())) {
                let all = &right.samples[row * right.width..][..right.width];
                let most = got.iter().zip(&all[ours.columns.clone()]).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(most <= Some(choice.tolerance()), "{choice:?} at 1/2^{k}, row {row}: {most:?}");
            }
        }
    }
});

/// Bytes that choices are made by; 0 where they are used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> u32 {
        self.0.split_off_first().copied().unwrap_or(0).into()
    }

    /// One of `from` to `to`.
    fn one(&mut self, from: u32, to: u32) -> u32 {
        from + self.next() % (to - from + 1)
    }
}

/// What is encoded, and what of it is decoded.
#[derive(Debug)]
struct Choice {
    origin: (u32, u32),
    size: (u32, u32),
    components: u32,
    precision: u32,
    signed: bool,
    /// How far the components are apart, from the second on.
    sampling: (u32, u32),
    irreversible: bool,
    multiple_component_transform: bool,
    levels: u32,
    /// Exponents of the code-blocks' sides.
    block: (u32, u32),
    style: u32,
    markers: u32,
    precincts: Vec<(u32, u32)>,
    /// The ratio of the lossy layers before the last.
    rates: Vec<u32>,
    last_is_lossy: bool,
    progression: u32,
    tile: Option<(u32, u32, u32, u32)>,
    reduce: u32,
    window: [u8; 4],
    /// How smooth the image is, in bits that all samples share.
    quiet: u32,
}

impl Choice {
    /// What the input chooses. Left out are structures that OpenJPEG's encoder does not encode well.
    fn of(input: &mut Input<'_>) -> Self {
        let origin = (input.one(0, 40), input.one(0, 40));
        let size = (input.one(1, 150), input.one(1, 150));
        let components = [1, 3, 1, 4, 2][input.one(0, 4) as usize];
        let flags = input.next();
        let is_set = |bit: u32| flags >> bit & 1 == 1;
        let multiple_component_transform = is_set(0) && components >= 3;
        let sampling = if is_set(1) && !multiple_component_transform { (2, 1 + (flags >> 7)) } else { (1, 1) };
        // It takes samples from outside of sub-sampled components that do not begin at 0.
        let origin = if sampling == (1, 1) { origin } else { (0, 0) };
        let block = input.one(2, 10);
        let levels = input.one(0, 6);
        let precincts = if is_set(2) { input.one(1, 3) } else { 0 };
        let rates = if is_set(3) { input.one(1, 2) } else { 0 };
        // It writes past the room that it has for a small code-block of many passes that each end by themselves, and has too
        // few bit-planes for the colour transform of samples of few bits.
        let style = input.one(0, 63);
        let ends_often = style & 0b101 != 0;
        let multiple_component_transform = multiple_component_transform && !ends_often;
        Self {
            precision: if ends_often { input.one(2, 3) } else { input.one(4, 16) },
            tile: is_set(4).then(|| {
                let corner = (input.one(0, origin.0), input.one(0, origin.1));
                (corner.0, corner.1, input.one(8, 100), input.one(8, 100))
            }),
            signed: is_set(5),
            irreversible: is_set(6),
            block: (block, input.one(2, (12 - block).min(10))),
            style,
            markers: input.one(0, 3) << 1,
            precincts: (0..precincts).map(|_| (input.one(1, 8), input.one(1, 8))).collect(),
            rates: (0..rates).map(|_| input.one(2, 100)).collect(),
            last_is_lossy: input.one(0, 1) == 1,
            progression: input.one(0, 4),
            reduce: input.one(0, levels),
            window: [(); 4].map(|()| input.next() as u8),
            quiet: input.one(0, 15),
            origin,
            size,
            components,
            sampling,
            multiple_component_transform,
            levels,
        }
    }

    fn is_lossy(&self) -> bool {
        self.last_is_lossy || !self.rates.is_empty()
    }

    /// Whether each tile of each component has two samples a side at its last level. With fewer, OpenJPEG's encoder reads
    /// outside of its memory.
    fn is_safe(&self) -> bool {
        let is_safe = |from: u32, size: u32, tile: Option<(u32, u32)>, step: u32| {
            let (corner, side) = tile.unwrap_or((from, size));
            let end = from + size;
            let first = corner + (from - corner) / side * side;
            (first..end).step_by(side as usize).all(|at| {
                let (from, to) = (at.max(from), (at + side).min(end));
                let samples = to.div_ceil(step) - from.div_ceil(step);
                samples >> self.levels >= 2
            })
        };
        let (x, y) = (self.tile.map(|tile| (tile.0, tile.2)), self.tile.map(|tile| (tile.1, tile.3)));
        is_safe(self.origin.0, self.size.0, x, self.sampling.0)
            && is_safe(self.origin.1, self.size.1, y, self.sampling.1)
    }

    /// How far samples may be from OpenJPEG's: the 9/7 wavelet is one of real numbers (F.3.8.2), which both round.
    fn tolerance(&self) -> u32 {
        if self.irreversible { 1 + (1 << self.precision >> 13) } else { 0 }
    }
}

/// The codestream; `None` where OpenJPEG does not encode such a one.
fn encode(choice: &Choice, input: &Input<'_>) -> Option<Vec<u8>> {
    let end = (choice.origin.0 + choice.size.0, choice.origin.1 + choice.size.1);
    let sampling = |index: u32| if index == 0 { (1, 1) } else { choice.sampling };
    let mut components: Vec<_> = (0..choice.components)
        .map(|index| {
            let (dx, dy) = sampling(index);
            let side = |from: u32, to: u32, step: u32| to.div_ceil(step).saturating_sub(from.div_ceil(step));
            opj::opj_image_comptparm {
                dx,
                dy,
                w: side(choice.origin.0, end.0, dx),
                h: side(choice.origin.1, end.1, dy),
                x0: choice.origin.0,
                y0: choice.origin.1,
                prec: choice.precision,
                bpp: choice.precision,
                sgnd: choice.signed.into(),
            }
        })
        .collect();
    // SAFETY: OpenJPEG's functions are called as openjpeg.h has it: with what they gave, which is destroyed once, and with
    // structs that live until then.
    unsafe {
        let space = opj::COLOR_SPACE::OPJ_CLRSPC_UNSPECIFIED;
        let image = opj::opj_image_create(choice.components, components.as_mut_ptr(), space);
        assert!(!image.is_null());
        ((*image).x0, (*image).y0) = choice.origin;
        ((*image).x1, (*image).y1) = end;
        for (index, component) in components.iter().enumerate() {
            let samples = (component.w * component.h) as usize;
            let data = std::slice::from_raw_parts_mut((*(*image).comps.add(index)).data, samples);
            paint(choice, index, component.w as usize, input, data);
        }
        let mut parameters: opj::opj_cparameters_t = std::mem::zeroed();
        opj::opj_set_default_encoder_parameters(&mut parameters);
        parameters.numresolution = choice.levels as i32 + 1;
        parameters.cblockw_init = 1 << choice.block.0;
        parameters.cblockh_init = 1 << choice.block.1;
        parameters.mode = choice.style as i32;
        parameters.irreversible = choice.irreversible.into();
        parameters.tcp_mct = choice.multiple_component_transform as c_char;
        parameters.csty = choice.markers as i32 | i32::from(!choice.precincts.is_empty());
        parameters.res_spec = choice.precincts.len() as i32;
        for (place, (width, height)) in choice.precincts.iter().enumerate() {
            (parameters.prcw_init[place], parameters.prch_init[place]) = (1 << width, 1 << height);
        }
        parameters.prog_order = PROGRESSIONS[choice.progression as usize];
        let mut rates: Vec<f32> = choice.rates.iter().map(|rate| *rate as f32).collect();
        rates.sort_by(|one, other| other.total_cmp(one));
        rates.push(if choice.last_is_lossy { 1.5 } else { 0.0 });
        parameters.tcp_numlayers = rates.len() as i32;
        parameters.tcp_rates[..rates.len()].copy_from_slice(&rates);
        parameters.cp_disto_alloc = 1;
        if let Some((x, y, width, height)) = choice.tile {
            parameters.tile_size_on = 1;
            (parameters.cp_tx0, parameters.cp_ty0) = (x as i32, y as i32);
            (parameters.cp_tdx, parameters.cp_tdy) = (width as i32, height as i32);
        }
        let codec = opj::opj_create_compress(opj::CODEC_FORMAT::OPJ_CODEC_J2K);
        let mut file = File { bytes: Vec::new(), at: 0 };
        let stream = stream(&mut file, false);
        let done = opj::opj_setup_encoder(codec, &mut parameters, image) != 0
            && opj::opj_start_compress(codec, image, stream) != 0
            && opj::opj_encode(codec, stream) != 0
            && opj::opj_end_compress(codec, stream) != 0;
        opj::opj_stream_destroy(stream);
        opj::opj_destroy_codec(codec);
        opj::opj_image_destroy(image);
        done.then_some(file.bytes)
    }
}

const PROGRESSIONS: [opj::OPJ_PROG_ORDER; 5] = [
    opj::PROG_ORDER::OPJ_LRCP,
    opj::PROG_ORDER::OPJ_RLCP,
    opj::PROG_ORDER::OPJ_RPCL,
    opj::PROG_ORDER::OPJ_PCRL,
    opj::PROG_ORDER::OPJ_CPRL,
];

/// Samples that the rest of the input makes up.
fn paint(choice: &Choice, index: usize, width: usize, input: &Input<'_>, samples: &mut [i32]) {
    let mut state = 0x9E37_79B9_u32 ^ index as u32;
    let lowest = if choice.signed { -(1i32 << (choice.precision - 1)) } else { 0 };
    let all = (1u32 << choice.precision) - 1;
    for (place, sample) in samples.iter_mut().enumerate() {
        let byte = input.0.get(place % input.0.len().max(1)).copied().unwrap_or(0);
        state = (state ^ u32::from(byte)).wrapping_mul(0x0019_660D).wrapping_add(0x3C6E_F35F);
        let smooth = (place % width + place / width * 3) as u32;
        *sample = lowest + (((state >> 16 >> choice.quiet) + smooth) & all) as i32;
    }
}

/// The samples of a component.
struct Component {
    width: usize,
    height: usize,
    samples: Vec<i32>,
}

/// What OpenJPEG decodes; `None` where it does not.
fn decode(bytes: &[u8], k: u32) -> Option<Vec<Component>> {
    // SAFETY: as for `encode`.
    unsafe {
        let mut parameters: opj::opj_dparameters_t = std::mem::zeroed();
        opj::opj_set_default_decoder_parameters(&mut parameters);
        parameters.cp_reduce = k;
        let codec = opj::opj_create_decompress(opj::CODEC_FORMAT::OPJ_CODEC_J2K);
        let mut file = File { bytes: bytes.to_vec(), at: 0 };
        let stream = stream(&mut file, true);
        let mut image = ptr::null_mut();
        let done = opj::opj_setup_decoder(codec, &mut parameters) != 0
            && opj::opj_read_header(stream, codec, &mut image) != 0
            // Without it reduced components of images with an origin have a row or a column too many.
            && opj::opj_set_decode_area(codec, image, 0, 0, 0, 0) != 0
            && opj::opj_decode(codec, stream, image) != 0
            && opj::opj_end_decompress(codec, stream) != 0;
        let components = done.then(|| {
            let all = std::slice::from_raw_parts((*image).comps, (*image).numcomps as usize);
            let component = |of: &opj::opj_image_comp_t| {
                let (width, height) = (of.w as usize, of.h as usize);
                let empty = width * height == 0 || of.data.is_null();
                let samples = if empty { &[] } else { std::slice::from_raw_parts(of.data, width * height) };
                Component { width, height, samples: samples.to_vec() }
            };
            all.iter().map(component).collect()
        });
        opj::opj_stream_destroy(stream);
        opj::opj_destroy_codec(codec);
        if !image.is_null() {
            opj::opj_image_destroy(image);
        }
        components
    }
}

/// A file in memory.
struct File {
    bytes: Vec<u8>,
    at: usize,
}

/// A stream over `file`, which must outlive it.
unsafe fn stream(file: &mut File, is_input: bool) -> *mut opj::opj_stream_t {
    // SAFETY: the functions get the file as their user data.
    unsafe {
        let stream = opj::opj_stream_default_create(is_input.into());
        opj::opj_stream_set_user_data_length(stream, file.bytes.len() as u64);
        opj::opj_stream_set_user_data(stream, ptr::from_mut(file).cast(), None);
        opj::opj_stream_set_read_function(stream, Some(read));
        opj::opj_stream_set_write_function(stream, Some(write));
        opj::opj_stream_set_skip_function(stream, Some(skip));
        opj::opj_stream_set_seek_function(stream, Some(seek));
        stream
    }
}

unsafe extern "C" fn read(buffer: *mut c_void, length: usize, file: *mut c_void) -> usize {
    // SAFETY: the buffer has `length` bytes, and `file` is what `stream` was given.
    unsafe {
        let file = &mut *file.cast::<File>();
        let rest = file.bytes.get(file.at..).unwrap_or_default();
        let length = length.min(rest.len());
        if length == 0 {
            return usize::MAX;
        }
        ptr::copy_nonoverlapping(rest.as_ptr(), buffer.cast(), length);
        file.at += length;
        length
    }
}

unsafe extern "C" fn write(buffer: *mut c_void, length: usize, file: *mut c_void) -> usize {
    // SAFETY: as for `read`.
    unsafe {
        let file = &mut *file.cast::<File>();
        file.bytes.resize(file.bytes.len().max(file.at + length), 0);
        ptr::copy_nonoverlapping(buffer.cast(), file.bytes.as_mut_ptr().add(file.at), length);
        file.at += length;
        length
    }
}

unsafe extern "C" fn skip(length: i64, file: *mut c_void) -> i64 {
    // SAFETY: as for `read`.
    let file = unsafe { &mut *file.cast::<File>() };
    file.at = file.at.saturating_add_signed(length as isize);
    length
}

unsafe extern "C" fn seek(to: i64, file: *mut c_void) -> i32 {
    // SAFETY: as for `read`.
    let file = unsafe { &mut *file.cast::<File>() };
    file.at = to as usize;
    1
}
