//! The inner loops, compiled for what the machine has: the one file of this room with unsafe code.

use super::block::{BlockCoding, Passes, Workspace};

/// The passes for every machine.
pub(super) struct Plain;

impl Passes for Plain {
    #[inline(never)]
    fn significance(&self, workspace: &mut Workspace, coding: &BlockCoding, plane: usize) {
        workspace.significance_with(coding, plane);
    }

    #[inline(never)]
    fn refinement(&self, workspace: &mut Workspace, coding: &BlockCoding, plane: usize) {
        workspace.refinement_with(coding, plane);
    }

    #[inline(never)]
    fn cleanup(&self, workspace: &mut Workspace, coding: &BlockCoding, plane: usize) {
        workspace.cleanup_with(coding, plane);
    }

    #[inline(never)]
    fn collect(&self, workspace: &Workspace, coding: &BlockCoding, out: &mut [i32]) {
        workspace.collect_with(coding, out);
    }
}

/// The passes for x86-64-v3: shifts and counts of zeros in one instruction, and vectors of 256 bits.
#[cfg(target_arch = "x86_64")]
pub(super) struct V3(());

#[cfg(target_arch = "x86_64")]
impl V3 {
    /// Where the machine has all of it.
    pub(super) fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt");
        has.then_some(Self(()))
    }
}

#[cfg(target_arch = "x86_64")]
mod v3 {
    use super::{BlockCoding, Workspace};

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    pub(super) fn significance(workspace: &mut Workspace, coding: &BlockCoding, plane: usize) {
        workspace.significance_with(coding, plane);
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    pub(super) fn refinement(workspace: &mut Workspace, coding: &BlockCoding, plane: usize) {
        workspace.refinement_with(coding, plane);
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    pub(super) fn cleanup(workspace: &mut Workspace, coding: &BlockCoding, plane: usize) {
        workspace.cleanup_with(coding, plane);
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    pub(super) fn collect(workspace: &Workspace, coding: &BlockCoding, out: &mut [i32]) {
        workspace.collect_with(coding, out);
    }
}

#[cfg(target_arch = "x86_64")]
impl Passes for V3 {
    fn significance(&self, workspace: &mut Workspace, coding: &BlockCoding, plane: usize) {
        // SAFETY: a V3 is made where the machine has the features alone.
        unsafe { v3::significance(workspace, coding, plane) }
    }

    fn refinement(&self, workspace: &mut Workspace, coding: &BlockCoding, plane: usize) {
        // SAFETY: as above.
        unsafe { v3::refinement(workspace, coding, plane) }
    }

    fn cleanup(&self, workspace: &mut Workspace, coding: &BlockCoding, plane: usize) {
        // SAFETY: as above.
        unsafe { v3::cleanup(workspace, coding, plane) }
    }

    fn collect(&self, workspace: &Workspace, coding: &BlockCoding, out: &mut [i32]) {
        // SAFETY: as above.
        unsafe { v3::collect(workspace, coding, out) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::Piece;
    use super::super::contexts::Orientation;
    use super::*;
    use proptest::prelude::*;

    fn decoded(coding: &BlockCoding, pieces: &[Piece<'_>], passes: &impl Passes) -> Result<Vec<i32>, String> {
        let mut out = vec![i32::MIN; coding.width * coding.height];
        Workspace::new().decode(coding, pieces, &mut out, passes).map(|()| out).map_err(|(_, what)| what)
    }

    proptest! {
        /// What is compiled for one machine gives what is compiled for all, whatever the bytes.
        #[test]
        fn all_machines_decode_alike(
            bytes in prop::collection::vec(0u8.., 0..600), more in prop::collection::vec(0u8.., 0..60),
            size in (1usize..70, 1usize..40), style in 0u8..32, planes in 1u32..12, orientation in 0usize..3,
            passes in (1u32..10, 1u32..12), reversible: bool,
        ) {
            let orientation = [Orientation::Vertical, Orientation::Horizontal, Orientation::Diagonal][orientation];
            let coding = BlockCoding { width: size.0, height: size.1, orientation, style, planes, reversible };
            let piece = |passes, continues, bytes| Piece { passes, continues, bytes };
            let pieces = [piece(passes.0, false, &bytes[..]), piece(passes.1, style % 2 == 0, &more[..])];
            let plain = decoded(&coding, &pieces, &Plain);
            let begun = (passes.0 + passes.1 - 1).div_ceil(3) + 1;
            prop_assert_eq!(plain.is_ok(), begun <= planes, "{:?}", plain);
            #[cfg(target_arch = "x86_64")]
            if let Some(v3) = V3::new() {
                prop_assert_eq!(decoded(&coding, &pieces, &v3), plain);
            }
        }
    }
}
