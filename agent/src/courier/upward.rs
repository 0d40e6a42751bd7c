//! What the keeper says, taken from its socket in parts.

use muster_proto::{parts::MAX_PART, wire::Part};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::CourierError;
use crate::channel;

/// The way from the keeper to the controller.
pub(super) struct Upward<R> {
    keeper: R,
    /// So many bytes of the present message are still to come.
    left: usize,
}

impl<R: AsyncRead + Unpin> Upward<R> {
    pub(super) fn new(keeper: R) -> Self {
        Self { keeper, left: 0 }
    }

    /// Waits for the next part.
    pub(super) async fn part(&mut self) -> Result<Part, CourierError> {
        if self.left == 0 {
            let mut head = [0; 4];
            self.keeper.read_exact(&mut head).await.map_err(CourierError::Keeper)?;
            self.left = channel::body_length(head)?;
        }
        let mut bytes = vec![0; self.left.min(MAX_PART)];
        self.keeper.read_exact(&mut bytes).await.map_err(CourierError::Keeper)?;
        self.left -= bytes.len();
        // A length of four bytes leaves no more than fits.
        Ok(Part { bytes, left: u32::try_from(self.left).unwrap_or(u32::MAX) })
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::{bundle::MAX_MESSAGE, parts::Assembly};

    use super::*;

    #[test]
    fn messages_of_every_length_come_as_they_were_said() {
        let lengths = [0, 1, MAX_PART - 1, MAX_PART, MAX_PART + 1, 3 * MAX_PART, 5];
        let messages: Vec<Vec<u8>> =
            lengths.iter().map(|length| (0_u8..=250).cycle().take(*length).collect()).collect();
        let said: Vec<u8> = messages
            .iter()
            .flat_map(|message| [&channel::head(message.len())[..], message].concat())
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut upward = Upward::new(said.as_slice());
            let mut assembly = Assembly::new(MAX_MESSAGE);
            for message in messages {
                let whole = loop {
                    if let Some(whole) = assembly.take(upward.part().await.unwrap()).unwrap() {
                        break whole;
                    }
                };
                assert_eq!(whole, message);
            }
            let end = upward.part().await;
            assert!(matches!(end, Err(CourierError::Keeper(_))), "{end:?}");
        });
    }
}
