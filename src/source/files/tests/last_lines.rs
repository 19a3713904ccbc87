//! Lines that are still being written, and lines that are too long.

use encoding_rs::{GB18030, GBK};

use super::*;

#[test]
fn a_last_line_that_is_still_being_written_is_left_for_the_next_run() {
    let mut world = World::new();
    world.file("t/a.jsonl", "{\"a\":1}\n{\"a\":");
    assert_eq!(world.run().unwrap().covered(), [("t/a.jsonl".into(), 0, 8)]);
    world.file("t/a.jsonl", "{\"a\":1}\n{\"a\":2}");
    world.cuts("t/a.jsonl", &[8]);
    assert_eq!(world.run().unwrap().messages(), ["t/a.jsonl 8 {\"a\":2}"]);
}

#[test]
fn a_last_line_taken_without_newline_is_not_taken_again() {
    let mut world = World::new();
    world.file("t/a.jsonl", "1\n2");
    assert_eq!(world.run().unwrap().covered(), [("t/a.jsonl".into(), 0, 3)]);
    world.file("t/a.jsonl", "1\n2\r\n3\n");
    world.cuts("t/a.jsonl", &[3]);
    let seen = world.run().unwrap();
    assert_eq!((seen.messages(), seen.covered()), (vec!["t/a.jsonl 5 3".to_owned()], vec![("t/a.jsonl".into(), 3, 7)]));
    // Another sink is behind: the first one's cursor cuts the line from its newline.
    world.cuts("t/a.jsonl", &[2, 3]);
    let seen = world.run().unwrap();
    assert_eq!(seen.messages(), ["t/a.jsonl 2 2", "t/a.jsonl 5 3"]);
    assert_eq!(seen.batches[0].covers[0].next, 3);
    // But a line that went on is not the message we took.
    world.file("t/a.jsonl", "1\n2222\n");
    world.cuts("t/a.jsonl", &[3]);
    assert_eq!(world.run().unwrap_err().kind, ErrorKind::Gap);
}

#[test]
fn a_line_that_is_too_long_is_passed_over_and_recorded() {
    let mut world = World::new();
    world.longest = 1000;
    let (fits, long) = ("x".repeat(999), "x".repeat(300_000));
    world.file("t/2026-11-25.jsonl", format!("1\n{fits}\n{long}\n2\n{long}"));
    let seen = world.run().unwrap();
    assert_eq!(seen.messages().len(), 3);
    assert_eq!(seen.messages()[2], "t/2026-11-25.jsonl 301003 2");
    assert_eq!(seen.covered(), [("t/2026-11-25.jsonl".into(), 0, 301_005)]);
    let gaps = |seen: &Seen| -> Vec<_> {
        let gaps = seen.batches.iter().flat_map(|batch| &batch.gaps);
        gaps.map(|gap| (gap.code, gap.lost.from, gap.lost.next, gap.timestamp)).collect()
    };
    let day = Some(1_795_536_000_000);
    assert_eq!(gaps(&seen), [("decode.too_large", 1002, 301_003, day)]);
    assert!(seen.batches.iter().all(|batch| batch.arena.len() < 5000));
    // The last one was still being written.
    world.cuts("t/2026-11-25.jsonl", &[301_005]);
    assert!(world.run().unwrap().covered().is_empty());
    world.file("t/2026-11-25.jsonl", format!("1\n{fits}\n{long}\n2\n{long}{long}\n3\n"));
    let seen = world.run().unwrap();
    assert_eq!(gaps(&seen), [("decode.too_large", 301_005, 901_006, day)]);
    assert_eq!(seen.messages(), ["t/2026-11-25.jsonl 901006 3"]);
}

#[test]
fn a_line_of_twenty_megabytes_is_a_message() {
    let world = World::new();
    let long = "x".repeat(20 << 20);
    world.file("t/a.jsonl", format!("1\n{long}\n2\n"));
    let seen = world.run().unwrap();
    let lens: Vec<u32> =
        seen.batches.iter().flat_map(|b| &b.messages).map(|message| message.payload.unwrap().len).collect();
    assert_eq!(lens, [1, 20 << 20, 1]);
}

#[test]
fn blanks_at_the_end_may_be_the_beginning_of_a_line() {
    let mut world = World::new();
    for blanks in ["  ", "\t\r"] {
        world.file("t/a.jsonl", format!("1\n{blanks}"));
        world.cursors.clear();
        let seen = world.run().unwrap();
        assert_eq!((seen.messages().len(), seen.covered()), (1, vec![("t/a.jsonl".into(), 0, 2)]));
        world.file("t/a.jsonl", format!("1\n{blanks}2\n"));
        world.cuts("t/a.jsonl", &[2]);
        assert_eq!(world.run().unwrap().messages(), [format!("t/a.jsonl 2 {blanks}2")]);
    }
}

#[test]
fn blanks_may_follow_a_last_line_that_was_taken() {
    let mut world = World::new();
    world.settings.gaps = Gaps::Record;
    world.cuts("t/a.jsonl", &[3]);
    let (few, many) = (" ", " \t".repeat(1000));
    for blanks in [few, &many, "\r"] {
        world.file("t/a.jsonl", format!("1\n2{blanks}"));
        assert!(world.run().unwrap().covered().is_empty(), "it may go on");
        world.file("t/a.jsonl", format!("1\n2{blanks}\n3\n"));
        let (seen, begins) = (world.run().unwrap(), 4 + blanks.len());
        assert_eq!(seen.messages(), [format!("t/a.jsonl {begins} 3")]);
        assert_eq!(seen.covered(), [("t/a.jsonl".into(), 3, begins as i64 + 2)]);
        assert!(seen.batches.iter().all(|batch| batch.gaps.is_empty()), "nothing was lost");
    }
    world.settings.gaps = Gaps::Stop;
    world.file("t/a.jsonl", format!("1\n2{many}2\n"));
    assert_eq!(world.run().unwrap_err().kind, ErrorKind::Gap);
}

#[test]
fn a_last_line_is_whole_in_the_charset_of_its_feed_and_behind_its_mark() {
    let mut world = World::new();
    let mut taken = |charset, line: &[u8]| {
        world.settings.topics[0].charset = charset;
        world.file("t/a.jsonl", line);
        world.run().unwrap().messages().len()
    };
    assert_eq!(taken(None, "\u{feff}{\"a\":1}".as_bytes()), 1);
    assert_eq!(taken(None, "\u{feff}{\"a\":".as_bytes()), 0);
    assert_eq!(taken(None, "\u{feff}".as_bytes()), 0);
    // The second byte of 乗 is that of a backslash in ASCII, so it would escape the quotation mark.
    let (line, _, _) = GBK.encode("{\"a\":\"乗\"}");
    assert!(line.contains(&b'\\') && !line.starts_with(b"\x84"), "{line:?}");
    for charset in [GBK, GB18030] {
        assert_eq!(taken(Some(charset), &line), 1);
        assert_eq!(taken(Some(charset), &[b"\x84\x31\x95\x33", &line[..]].concat()), 1);
        for end in 1..line.len() {
            assert_eq!(taken(Some(charset), &line[..end]), 0, "{end}");
        }
    }
    assert_eq!(taken(None, &line), 0, "another charset is another text");
    // What is no text is refused by the decoder, when it has come whole.
    assert_eq!(taken(None, b"{\"a\":\"\xff\"}"), 1);
    assert_eq!(taken(None, b"{\"a\":1}\xff"), 0);
}
