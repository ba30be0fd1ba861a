//! The codes of markers, and of what marker segments say (T.800 Annex A).

/// Start of codestream (A.4.1).
pub(super) const SOC: u16 = 0xFF4F;
/// Start of tile-part (A.4.2).
pub(super) const SOT: u16 = 0xFF90;
/// Image and tile size (A.5.1).
pub(super) const SIZ: u16 = 0xFF51;
/// Coding style default (A.6.1).
pub(super) const COD: u16 = 0xFF52;
/// Coding style component (A.6.2).
pub(super) const COC: u16 = 0xFF53;
/// Progression order change (A.6.6).
pub(super) const POC: u16 = 0xFF5F;
/// Tile-part lengths (A.7.1).
pub(super) const TLM: u16 = 0xFF55;
/// Packet lengths, main header (A.7.2).
pub(super) const PLM: u16 = 0xFF57;
/// Packet lengths, tile-part header (A.7.3).
pub(super) const PLT: u16 = 0xFF58;
/// Quantization default (A.6.4).
pub(super) const QCD: u16 = 0xFF5C;
/// Quantization component (A.6.5).
pub(super) const QCC: u16 = 0xFF5D;
/// Region of interest (A.6.3).
pub(super) const RGN: u16 = 0xFF5E;
/// Packed packet headers, main header (A.7.4).
pub(super) const PPM: u16 = 0xFF60;
/// Packed packet headers, tile-part header (A.7.5).
pub(super) const PPT: u16 = 0xFF61;
/// Component registration (A.9.1).
pub(super) const CRG: u16 = 0xFF63;
/// Comment (A.9.2).
pub(super) const COM: u16 = 0xFF64;

/// The progression orders in the order of their numbers (Table A.16).
pub(crate) const PROGRESSIONS: [&str; 5] = ["LRCP", "RLCP", "RPCL", "PCRL", "CPRL"];
