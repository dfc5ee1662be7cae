//! Tiles: which there are, how they are called, and what is in them.

use proptest::prelude::*;

use super::*;

#[test]
fn a_log_is_described_by_the_tiles_that_the_spec_names() {
    // The example of tlog-tiles.
    let names: Vec<String> = hash_tiles_of(70_000).map(|tile| tile.to_string()).collect();
    assert_eq!(names.len(), 273 + 1 + 1 + 1 + 1);
    assert_eq!(&names[273..], ["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]);
    let names: Vec<String> = hash_tiles_of(256).map(|tile| tile.to_string()).collect();
    assert_eq!(names, ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(hash_tiles_of(0).count() + bundles_of(0).count(), 0);
    let names: Vec<String> = bundles_of(300).map(|tile| tile.to_string()).collect();
    assert_eq!(names, ["tile/entries/000", "tile/entries/001.p/44"]);
    assert_eq!("tile/0/x001/x234/067".parse::<Tile>().unwrap().range().start, 1_234_067 * 256);
    for bad in [
        "tile/0/1",
        "tile/00/001",
        "tile/7/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/x000/001",
        "tile/0/+01",
    ] {
        assert_eq!(bad.parse::<Tile>().unwrap_err().reason(), "LOG_TILE_INVALID", "{bad}");
    }
}

#[test]
fn tiles_hold_the_hashes_of_their_subtrees() {
    let log = Log::sized(1000);
    for tile in hash_tiles_of(1000) {
        let height = 8 * u32::from(tile.level().unwrap());
        for (node, index) in tile.nodes().zip(tile.range()) {
            let entries =
                usize::try_from(index << height).unwrap()..usize::try_from((index + 1) << height).unwrap();
            assert_eq!(log.node(node), Some(mth(&log.entries[entries])), "{tile}");
        }
        assert_eq!(tile.nodes().count(), usize::from(tile.width()));
    }
}

#[test]
fn the_builder_yields_every_tile_of_a_log_once_and_no_other() {
    let log = Log::sized(300 + 256 * 256);
    let mut builder = TileBuilder::default();
    let mut full: BTreeMap<Tile, Vec<u8>> = BTreeMap::new();
    for (entry, size) in log.entries.iter().zip(1_u64..) {
        for (tile, bytes) in builder.push(entry.clone()).unwrap() {
            assert_eq!(full.insert(tile, bytes), None, "{tile} twice");
        }
        if ![1, 255, 256, 257, 300, 512, 65_535, 65_536, 65_537, 65_836].contains(&size) {
            continue;
        }
        let mut files = full.clone();
        files.extend(builder.partial_tiles().unwrap());
        assert_eq!(files.keys().copied().collect::<Vec<_>>(), {
            let mut tiles: Vec<Tile> = hash_tiles_of(size).chain(bundles_of(size)).collect();
            tiles.sort();
            tiles
        });
        for (tile, bytes) in files {
            let expected: Vec<u8> = if tile.level().is_some() {
                tile.nodes().flat_map(|id| *log.node(id).unwrap().as_bytes()).collect()
            } else {
                let range =
                    usize::try_from(tile.range().start).unwrap()..usize::try_from(tile.range().end).unwrap();
                encode_bundle(&log.entries[range]).unwrap()
            };
            assert!(bytes == expected, "{tile} at {size}");
        }
        assert_eq!(builder.frontier().root(), root_at(size, |id| log.node(id)).unwrap());
    }
    assert_eq!(builder.push(vec![0; 65_536]), Err(TlogError::EntryTooLong(65_536)));
}

proptest! {
    #[test]
    fn bundles_come_back_as_they_were(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..=256)) {
        let bundle = encode_bundle(&entries).unwrap();
        let width = u16::try_from(entries.len()).unwrap();
        prop_assert_eq!(decode_bundle(&bundle, width).unwrap(), entries);
        prop_assert!(decode_bundle(&bundle, width + 1).is_err());
        if width > 0 {
            prop_assert!(decode_bundle(&bundle, width - 1).is_err());
            prop_assert!(decode_bundle(&bundle[..bundle.len() - 1], width).is_err());
        }
    }

    #[test]
    fn tile_paths_come_back_and_nothing_else_does(level in prop::option::of(0..=6_u8), index in 0..=(MAX_SIZE >> 8), width in 1..=256_u16, text in "tile/(entries|[0-9]{1,2})/(x?[0-9]{3,4}/){0,3}x?[0-9]{3}(\\.p/[0-9]{1,4})?") {
        let level = level.map_or("entries".to_owned(), |level| level.to_string());
        let groups = format!("{index:0>18}");
        let groups: Vec<&str> = (0..6).map(|group| &groups[group * 3..group * 3 + 3]).collect();
        let significant = groups.iter().position(|group| *group != "000").unwrap_or(5);
        let index_path = groups[significant..].join("/x");
        let index_path = if significant == 5 { index_path } else { format!("x{index_path}") };
        let (init, last) = index_path.rsplit_once("/x").map_or((String::new(), index_path.as_str()), |(init, last)| (format!("{init}/"), last));
        let partial = if width < 256 { format!(".p/{width}") } else { String::new() };
        let path = format!("tile/{level}/{init}{last}{partial}");
        let tile: Tile = path.parse().unwrap();
        prop_assert_eq!(tile.to_string(), path);
        prop_assert_eq!(tile.range().start, index * 256);
        prop_assert_eq!(tile.width(), width);
        if let Ok(tile) = text.parse::<Tile>() {
            prop_assert_eq!(tile.to_string(), text);
        }
    }
}
