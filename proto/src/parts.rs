//! Messages in parts, as a session carries them: whoever hands a message on needs no more memory for
//! it than for one part, however long it is.

use crate::wire::Part;

/// The most bytes of a message in one part.
pub const MAX_PART: usize = 16 << 10;

/// The most bytes that a part has once it is encoded: its bytes, two tags, and two lengths.
pub const MAX_ENCODED_PART: usize = MAX_PART + 16;

/// Why a part is not the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPart {
    /// The part itself is too long.
    #[error("a part of {0} bytes; at most {MAX_PART} are in one")]
    TooLong(usize),
    /// The message that it begins is too long.
    #[error("a message of {length} bytes; at most {most} are read here")]
    TooMuch {
        /// How long it is.
        length: usize,
        /// How long it may be.
        most: usize,
    },
    /// It is not full, and more is to follow. Many small parts would be much work for few bytes.
    #[error("a part of {0} bytes that is not the last; such a one has {MAX_PART}")]
    NotFull(usize),
    /// Something is missing or there twice.
    #[error("a part after which {found} bytes are left, where {expected} are")]
    OutOfStep {
        /// What has to be left after it.
        expected: usize,
        /// What it says.
        found: usize,
    },
}

/// Cuts a message into parts.
pub fn parts(message: &[u8]) -> impl Iterator<Item = Part> {
    let whole = message.is_empty().then(Part::default);
    let mut left = message.len();
    whole.into_iter().chain(message.chunks(MAX_PART).map(move |bytes| {
        left -= bytes.len();
        // No message is so long that this does not fit.
        Part { bytes: bytes.to_vec(), left: u32::try_from(left).unwrap_or(u32::MAX) }
    }))
}

/// Follows the parts of one message after the other.
#[derive(Debug)]
pub struct Course {
    most: usize,
    left: usize,
}

impl Course {
    /// Follows messages of at most so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, left: 0 }
    }

    /// Takes the next part, and returns the length of the message if this is the beginning of one.
    pub fn take(&mut self, part: &Part) -> Result<Option<usize>, BadPart> {
        let (size, left) = (part.bytes.len(), part.left as usize);
        if size > MAX_PART {
            return Err(BadPart::TooLong(size));
        }
        if left > 0 && size != MAX_PART {
            return Err(BadPart::NotFull(size));
        }
        let begins = self.left == 0;
        let length = size.saturating_add(left);
        if begins && length > self.most {
            return Err(BadPart::TooMuch { length, most: self.most });
        }
        if !begins && length != self.left {
            let expected = self.left.saturating_sub(size);
            return Err(BadPart::OutOfStep { expected, found: left });
        }
        self.left = left;
        Ok(begins.then_some(length))
    }

    /// Says whether the message is whole with the part that was taken last.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.left == 0
    }
}

/// Puts messages together again.
#[derive(Debug)]
pub struct Assembly {
    course: Course,
    bytes: Vec<u8>,
}

impl Assembly {
    /// Puts together messages of at most so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { course: Course::new(most), bytes: Vec::new() }
    }

    /// Takes the next part, and returns the message if it is whole with it. Memory is taken for what
    /// has come and never for what is only promised.
    pub fn take(&mut self, part: Part) -> Result<Option<Vec<u8>>, BadPart> {
        let begins = self.course.take(&part)?.is_some();
        if begins {
            self.bytes = part.bytes;
        } else {
            self.bytes.extend_from_slice(&part.bytes);
        }
        Ok(self.course.is_whole().then(|| std::mem::take(&mut self.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn part(size: usize, left: u32) -> Part {
        Part { bytes: vec![7; size], left }
    }

    proptest! {
        #[test]
        fn messages_in_parts_are_put_together_as_they_were(
            lengths in prop::collection::vec(0..3 * MAX_PART + 2, 1..4)
        ) {
            let mut assembly = Assembly::new(3 * MAX_PART + 1);
            for length in lengths {
                let message: Vec<u8> = (0_u8..=250).cycle().take(length).collect();
                let mut whole = Vec::new();
                for part in parts(&message) {
                    prop_assert!(part.encoded_len() <= MAX_ENCODED_PART);
                    whole.extend(assembly.take(part).unwrap());
                }
                prop_assert_eq!(whole, vec![message]);
            }
        }
    }

    #[test]
    fn a_message_may_be_as_long_as_the_bound_and_not_a_byte_longer() {
        let most = MAX_PART + 5;
        assert_eq!(Course::new(most).take(&part(MAX_PART, 5)), Ok(Some(most)));
        let longer = Course::new(most).take(&part(MAX_PART, 6));
        assert_eq!(longer, Err(BadPart::TooMuch { length: most + 1, most }));
    }

    #[test]
    fn a_part_may_be_as_long_as_the_bound_and_fits_into_what_is_read_of_one() {
        let longest = part(MAX_PART, u32::MAX);
        assert!(longest.encoded_len() <= MAX_ENCODED_PART);
        assert_eq!(Course::new(usize::MAX).take(&part(MAX_PART, 0)), Ok(Some(MAX_PART)));
        let longer = Course::new(usize::MAX).take(&part(MAX_PART + 1, 0));
        assert_eq!(longer, Err(BadPart::TooLong(MAX_PART + 1)));
    }

    #[test]
    fn every_part_but_the_last_is_full() {
        for size in [0, 1, MAX_PART - 1] {
            let begun = Course::new(usize::MAX).take(&part(size, 1));
            assert_eq!(begun, Err(BadPart::NotFull(size)));
            assert_eq!(Course::new(usize::MAX).take(&part(size, 0)), Ok(Some(size)));
        }
    }

    #[test]
    fn what_is_missing_or_there_twice_is_no_next_part() {
        let full = 16_384;
        let begun = || {
            let mut course = Course::new(usize::MAX);
            assert_eq!(course.take(&part(MAX_PART, 2 * full)), Ok(Some(3 * MAX_PART)));
            assert!(!course.is_whole());
            course
        };
        assert_eq!(begun().take(&part(MAX_PART, full)), Ok(None));
        let out_of_step = |expected, found| Err(BadPart::OutOfStep { expected, found });
        let (one, two) = (MAX_PART, 2 * MAX_PART);
        assert_eq!(begun().take(&part(MAX_PART, full + 1)), out_of_step(one, one + 1));
        assert_eq!(begun().take(&part(MAX_PART, 2 * full)), out_of_step(one, two));
        assert_eq!(begun().take(&part(MAX_PART, 0)), out_of_step(one, 0));
        assert_eq!(begun().take(&part(0, 0)), out_of_step(two, 0));
    }

    #[test]
    fn a_message_of_nothing_is_one_part() {
        assert_eq!(parts(&[]).collect::<Vec<_>>(), [Part::default()]);
        assert_eq!(Assembly::new(0).take(Part::default()), Ok(Some(Vec::new())));
    }
}
