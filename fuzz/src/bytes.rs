//! An input read as a list of small decisions.
//!
//! Knows nothing of what is decided. Called by the targets whose input is not itself the text.

/// What is left of an input. Beyond its end everything is zero.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Yes once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// At most this many bytes, up to and without the next zero byte.
    pub fn chunk(&mut self, len_max: usize) -> &'a [u8] {
        let len = self.0.iter().take(len_max).take_while(|byte| **byte != 0).count();
        let (chunk, rest) = self.0.split_at(len);
        self.0 = rest.strip_prefix(&[0]).unwrap_or(rest);
        chunk
    }
}
