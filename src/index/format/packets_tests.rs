//! Lengths of packets in values: what is read, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::jp2::TilePartHead;

/// A tile-part whose packets have these lengths, by resolution, and they in one list. The resolutions' ends are known or not.
fn part(offset: u64, resolutions: &[Vec<u32>], known: bool) -> (TilePart, Vec<u32>) {
    let mut at = 20;
    let mut resolution_ends: Vec<u32> = Vec::new();
    for lengths in resolutions {
        at += lengths.iter().sum::<u32>();
        resolution_ends.push(at);
    }
    if !known {
        resolution_ends.clear();
    }
    let head = TilePartHead { kept: 12, packets: 20, droppable: true, resolution_ends };
    (TilePart { tile: 0, offset, length: at, head: Some(head) }, resolutions.concat())
}

fn files() -> impl Strategy<Value = (Vec<TilePart>, Vec<Vec<u32>>)> {
    let length = prop_oneof![4 => 1u32..60_000, 2 => Just(1), 1 => 0u32..4];
    let resolutions = prop::collection::vec(prop::collection::vec(length, 0..9), 1..6);
    let part_of = (resolutions, any::<bool>(), prop::option::weighted(0.9, any::<bool>()));
    prop::collection::vec(part_of, 1..30).prop_map(|list| {
        let mut offset = 2_300;
        let parts = list.into_iter().map(|(resolutions, known, has_head)| {
            let (mut part, mut lengths) = part(offset, &resolutions, known);
            offset = part.end();
            match has_head {
                None => (part.head, lengths) = (None, Vec::new()),
                Some(false) => lengths.clear(),
                Some(true) => {}
            }
            (part, lengths)
        });
        parts.unzip()
    })
}

proptest! {
    #[test]
    fn lengths_are_read_as_they_are_built((parts, lengths) in files()) {
        let total = lengths.iter().map(Vec::len).sum::<usize>();
        match build_packets(&parts, &lengths) {
            Ok((count, value)) => {
                prop_assert_eq!(count as usize, total);
                prop_assert_eq!(parse_packets(&value, count, &parts).unwrap(), lengths.clone());
                prop_assert!(parse_packets(&value, count + 1, &parts).is_err());
                prop_assert!(parse_packets(&value[..value.len() - 1], count, &parts).is_err());
                prop_assert!(parse_packets(&[&value[..], &[0]].concat(), count, &parts).is_err());
            }
            Err(why) => prop_assert!(total == 0, "{why}"),
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        count in 0u32..3_000,
        (mut parts, lengths) in files(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        length in 0u32..100_000,
    ) {
        let _ = parse_packets(&[&[VERSION], &bytes[..]].concat(), count, &parts);
        let Ok((count, mut value)) = build_packets(&parts, &lengths) else { return Ok(()) };
        for (at, byte) in changes {
            let at = at.index(value.len());
            value[at] = byte;
        }
        parts[0].length = length;
        // What is read at all fits the tile-parts.
        for (lengths, part) in parse_packets(&value, count, &parts).into_iter().flatten().zip(&parts) {
            let packets = part.head.as_ref().map_or(0, |head| head.packets);
            let sum = lengths.iter().map(|length| u64::from(*length)).sum::<u64>();
            prop_assert!(lengths.is_empty() || sum + u64::from(packets) <= u64::from(part.length));
        }
    }
}

#[test]
fn a_tile_part_that_is_shorter_than_its_header_has_no_packets() {
    let (mut one, lengths) = part(0, &[vec![1]], false);
    let (count, value) = build_packets(std::slice::from_ref(&one), &[lengths]).unwrap();
    one.length = one.head.as_ref().unwrap().packets - 1;
    assert!(parse_packets(&value, count, &[one]).is_err());
}

#[test]
fn the_documented_layout_is_kept() {
    let (one, lengths) = part(0, &[vec![4, 7], vec![7]], true);
    // 2 and 1 packets, each plane of one number: 000011 100 111111, 000010 10 111111. Of 11 bytes for two packets the
    // first is foretold to have 5: 000001 1 111111.
    let value = [VERSION, 0x0E, 0x7E, 0x15, 0xF8, 0x3F, 0xC0];
    assert_eq!(build_packets(&[one], &[lengths]), Ok((3, value.to_vec())));
    // Twice 2 packets: 000011 100 111111; then the one of 3 bits, 000001 1 111111, before that of 6: 000101 10011 111111.
    let ((large, far), (small, near)) = (part(0, &[vec![40, 60]], true), part(120, &[vec![4, 7]], true));
    let value = [VERSION, 0x0E, 0x7E, 0x0F, 0xF1, 0x67, 0xF8];
    assert_eq!(build_packets(&[large, small], &[far, near]), Ok((4, value.to_vec())));
}

#[test]
fn a_section_without_packets_has_no_bytes() {
    let (part, _) = part(0, &[vec![4, 7], vec![7]], true);
    let parse = |counts: [i64; 2]| {
        let mut out = BitWriter::default();
        counts.iter().for_each(|count| out.plane(&[*count]));
        let value = [&[VERSION], &out.into_bytes()[..]].concat();
        parse_packets(&value, counts.iter().sum::<i64>() as u32, std::slice::from_ref(&part))
    };
    assert_eq!(parse([1, 1]), Ok(vec![vec![11, 7]]));
    assert_eq!(parse([0, 0]), Ok(vec![vec![]]));
    assert!(parse([1, 0]).unwrap_err().contains("do not end"));
    assert!(parse([0, 1]).unwrap_err().contains("do not end"));
    assert!(parse([-1, 2]).unwrap_err().contains("-1 packets"));
}

#[test]
fn lengths_that_do_not_add_up_are_not_written() {
    let (good, lengths) = part(0, &[vec![5, 6], vec![7]], true);
    let parts = [good];
    let build = |lengths: &[u32]| build_packets(&parts, &[lengths.to_vec()]);
    assert!(build(&lengths).is_ok());
    for wrong in [&[5, 7, 6][..], &[5, 6], &[5, 6, 8], &[5, 6, 7, 1]] {
        assert!(build(wrong).unwrap_err().contains("do not end"), "{wrong:?}");
    }
    assert!(build(&[]).unwrap_err().contains("not known"));
    assert!(build_packets(&parts, &[]).unwrap_err().contains("not known"));
}

#[test]
fn what_few_bytes_tell_is_bounded() {
    let many = |packets: usize| {
        let (part, lengths) = part(0, &[vec![1; packets]], true);
        build_packets(&[part], &[lengths])
    };
    let (_, value) = many(1_000).unwrap();
    assert!(value.len() < 12);
    assert!(many(100_000).unwrap_err().contains("too many"));
    // As if it had been written all the same.
    let (part, _) = part(0, &[vec![1; 100_000]], true);
    let mut out = BitWriter::default();
    out.plane(&[100_000]);
    out.plane(&vec![0; 99_999]);
    let value = [&[VERSION], &out.into_bytes()[..]].concat();
    assert!(parse_packets(&value, 100_000, &[part]).unwrap_err().contains("100000 packets in"));
}
