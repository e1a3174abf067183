//! Choices that a printed seed repeats.

/// A stream of numbers that its seed alone determines (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The stream of `CELLBLOCK_SEED`, or of the clock where no seed is given. The seed is printed.
    ///
    /// # Errors
    /// `CELLBLOCK_SEED` is no number.
    pub fn from_environment(what: &str) -> anyhow::Result<Self> {
        let seed = match std::env::var("CELLBLOCK_SEED") {
            Ok(text) => text.parse()?,
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)?
                .as_millis() as u64,
        };
        crate::note(&format!(
            "{what}: CELLBLOCK_SEED={seed} repeats these choices"
        ));
        Ok(Self(seed))
    }

    /// The next number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    /// Puts `items` in an order of its own.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}
