//! Tiles: which files describe a log of a given size, what they are called, and which nodes they hold.
//!
//! Invariant: a [`Tile`] has a width of 1 to 256, a level of at most 6, and names nodes that can exist in
//! trees up to [`super::MAX_SIZE`].
//!
//! Spec: C2SP tlog-tiles.

use std::fmt;
use std::ops::Range;

use super::error::TlogError;
use super::tree::{MAX_SIZE, NodeId};

/// Hashes in a full hash tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Tree levels between two levels of tiles.
pub(super) const TILE_HEIGHT: u8 = 8;
/// The highest level of tiles in a tree of [`MAX_SIZE`] entries; the spec's limit of 63 is beyond any tree.
const MAX_LEVEL: u8 = 6;

/// A file of a log: a hash tile, or a bundle of entries. Its Display is its path below the log's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// The level of a hash tile; `None` for entries.
    level: Option<u8>,
    index: u64,
    width: u16,
}

impl Tile {
    /// The rightmost tile at this level (`None`: bundle) of a log of `size` entries, which must have one there.
    pub(super) fn last_of(level: Option<u8>, size: u64) -> Self {
        let last = (size >> (level.unwrap_or(0) * TILE_HEIGHT)).saturating_sub(1);
        // A remainder of 256 is below 256, so it fits.
        let width = u16::try_from(last % u64::from(TILE_WIDTH)).unwrap_or(0) + 1;
        Self { level, index: last / u64::from(TILE_WIDTH), width }
    }

    /// The bundle that holds entry `index` of a log of `size` entries; `None` beyond its end.
    #[must_use]
    pub fn bundle_of(index: u64, size: u64) -> Option<Self> {
        let bundle = index / u64::from(TILE_WIDTH);
        let width =
            size.min(MAX_SIZE).checked_sub(bundle * u64::from(TILE_WIDTH))?.min(u64::from(TILE_WIDTH));
        let width = u16::try_from(width).ok()?;
        (index < size).then_some(Self { level: None, index: bundle, width })
    }

    /// The level of a hash tile; `None` for a bundle of entries.
    #[must_use]
    pub fn level(&self) -> Option<u8> {
        self.level
    }

    /// How many hashes or entries the file holds: 256, or fewer in a partial tile.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// The positions of the hashes within their level, or of the entries within the log.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        let start = self.index * u64::from(TILE_WIDTH);
        start..start + u64::from(self.width)
    }

    /// The tree nodes whose hashes, one after the other, are this tile. Empty for a bundle.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        let level = self.level.map(|level| level * TILE_HEIGHT);
        let range = if level.is_some() { self.range() } else { 0..0 };
        range.map(move |index| NodeId { level: level.unwrap_or(0), index })
    }
}

/// The hash tiles of a tree of `size` entries, level by level, partial ones included.
///
/// A lazy iterator: a large log has millions.
pub fn hash_tiles_of(size: u64) -> impl Iterator<Item = Tile> {
    (0..=MAX_LEVEL)
        .map(move |level| (level, size.min(MAX_SIZE) >> (level * TILE_HEIGHT)))
        .take_while(|(_, hashes)| *hashes > 0)
        .flat_map(|(level, hashes)| tiles(Some(level), hashes))
}

/// The bundles of a log of `size` entries, the partial one included.
pub fn bundles_of(size: u64) -> impl Iterator<Item = Tile> {
    tiles(None, size.min(MAX_SIZE))
}

fn tiles(level: Option<u8>, count: u64) -> impl Iterator<Item = Tile> {
    let full = count / u64::from(TILE_WIDTH);
    // The remainder is below 256, so it fits.
    let partial = u16::try_from(count % u64::from(TILE_WIDTH)).unwrap_or(0);
    let last = (partial > 0).then_some(Tile { level, index: full, width: partial });
    (0..full).map(move |index| Tile { level, index, width: TILE_WIDTH }).chain(last)
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "tile/{level}/")?,
            None => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        while let Some(group) = groups.pop() {
            if groups.is_empty() {
                write!(f, "{group:03}")?;
            } else {
                write!(f, "x{group:03}/")?;
            }
        }
        if self.width < TILE_WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl std::str::FromStr for Tile {
    type Err = TlogError;

    /// Parses a path such as `tile/0/x001/234.p/5` or `tile/entries/000`.
    fn from_str(path: &str) -> Result<Self, TlogError> {
        let bad = TlogError::BadTile("the path is not one of tlog-tiles");
        let tail = path.strip_prefix("tile/").ok_or(bad.clone())?;
        let (level, tail) = tail.split_once('/').ok_or(bad.clone())?;
        let level = if level == "entries" { None } else { Some(decimal(level).ok_or(bad.clone())?) };
        let (index, width) =
            tail.split_once(".p/").map_or((tail, None), |(index, width)| (index, Some(width)));
        let width = width.map_or(Some(TILE_WIDTH), decimal).ok_or(bad.clone())?;
        let mut value = 0_u64;
        for group in index.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            let digits =
                (digits.len() == 3).then(|| digits.parse::<u64>().ok()).flatten().ok_or(bad.clone())?;
            value = value.checked_mul(1000).and_then(|value| value.checked_add(digits)).ok_or(bad.clone())?;
        }
        let tile = Self { level, index: value, width };
        // Whatever the loop let through (signs, missing x, leading groups of zeroes) does not write back the same.
        let fits = level.is_none_or(|level| level <= MAX_LEVEL)
            && (1..=TILE_WIDTH).contains(&width)
            && value <= MAX_SIZE >> 8;
        if fits && tile.to_string() == path { Ok(tile) } else { Err(bad) }
    }
}

/// A small decimal number; canonical form is checked by writing the path back.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    (text.len() <= 3).then(|| text.parse().ok()).flatten()
}
