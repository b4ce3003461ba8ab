//! When everything is captured, it makes no difference in how many pieces.

use proptest::prelude::*;

use super::{
    truth::{Content, Talks},
    *,
};

fn in_pieces(protocol: &dyn Protocol, turns: &[Turn], cuts: &[usize]) -> Found {
    let mut teller = Teller::new(protocol);
    let mut cuts = cuts.iter().cycle();
    for turn in turns {
        let mut rest = &turn.bytes[..];
        while !rest.is_empty() {
            let length = cuts.next().map_or(rest.len(), |cut| 1 + cut % rest.len());
            let (piece, after) = rest.split_at(length);
            teller.piece(turn.to, piece, Some(usize::MAX));
            rest = after;
        }
    }
    teller.end()
}

proptest! {
    #![proptest_config(cases(300))]
    #[test]
    fn pieces_make_no_difference(talks in Talks::any(Content::Imitates), cuts in prop::collection::vec(0_usize..2_000, 1..40)) {
        let (protocol, turns) = (talks.protocol(), talks.turns());
        let whole = hear_all(protocol, &turns);
        let pieces = in_pieces(protocol, &turns, &cuts);
        prop_assert_eq!(&whole.exchanges, &pieces.exchanges);
        prop_assert_eq!(&whole.doubts, &pieces.doubts);
        prop_assert_eq!(whole.exchanges.len(), talks.exchanges());
        let single = in_pieces(protocol, &turns, &[0]);
        prop_assert_eq!(&whole.exchanges, &single.exchanges);
    }
}
