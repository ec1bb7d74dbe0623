//! Reading a request's body, as far as it may be read and as long as it may take.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is longer than it may be.
    TooLarge,
    /// It did not arrive, whole and in time.
    Incomplete,
}

/// Reads `body` to its end.
///
/// A body that says it is too large is not read at all. A timer is set only when the body has not
/// arrived together with its head.
///
/// # Errors
///
/// When there are more than `limit` bytes, or the end has not come `within` that time. The rest of
/// the body is unread then, and the connection is of no use for another request.
pub(super) async fn read<B>(body: B, limit: usize, within: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    if usize::try_from(body.size_hint().lower()).map_or(true, |least| least > limit) {
        return Err(BodyError::TooLarge);
    }
    tokio::time::timeout(within, collect(body, limit)).await.unwrap_or(Err(BodyError::Incomplete))
}

/// Reads `body` for the connection's sake only; false when it is too large for that and was left.
///
/// # Errors
///
/// When the end has not come `within` that time: whoever does not send a whole request did not ask
/// for anything.
pub(super) async fn skip<B>(body: B, limit: usize, within: Duration) -> Result<bool, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    match read(body, limit, within).await {
        Ok(_) => Ok(true),
        Err(BodyError::TooLarge) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn collect<B>(mut body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    // Nearly every body is one piece, which is taken as it is.
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // The cause is the client's connection, and hyper closes that by itself.
        let Ok(frame) = frame else { return Err(BodyError::Incomplete) };
        // Trailers say nothing to us.
        let Ok(piece) = frame.into_data() else { continue };
        if piece.len() > limit - first.len().max(all.len()) {
            return Err(BodyError::TooLarge);
        }
        if first.is_empty() {
            first = piece;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&piece);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::{Frame, SizeHint};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    /// A body of pieces whose length is known or not; without an end when it `hangs`.
    struct Pieces {
        left: VecDeque<&'static str>,
        length: Option<u64>,
        hangs: bool,
    }

    impl Pieces {
        fn new(pieces: &[&'static str]) -> Self {
            Self { left: pieces.iter().copied().collect(), length: None, hangs: false }
        }
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            match self.left.pop_front() {
                Some("broken") => Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into()))),
                Some(piece) => {
                    Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
                }
                None if self.hangs => Poll::Pending,
                None => Poll::Ready(None),
            }
        }

        fn size_hint(&self) -> SizeHint {
            self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    #[tokio::test]
    async fn pieces_are_put_together_up_to_the_limit() {
        for (pieces, expected) in [
            (&[][..], Ok("")),
            (&["action=DeleteCall"], Ok("action=DeleteCall")),
            (&["", "ab", "", "cd", "ef"], Ok("abcdef")),
            (&["action=DeleteCall", "&"], Err(BodyError::TooLarge)),
            (&["0123456789abcdefgh"], Err(BodyError::TooLarge)),
            (&["ab", "broken"], Err(BodyError::Incomplete)),
        ] {
            let found = read(Pieces::new(pieces), 17, WITHIN).await;
            assert_eq!(
                found,
                expected.map(|text| Bytes::from_static(text.as_bytes())),
                "{pieces:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_not_even_begun() {
        let body = Pieces { length: Some(18), hangs: true, ..Pieces::new(&[]) };
        assert_eq!(read(body, 17, WITHIN).await, Err(BodyError::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_given_up_in_time() {
        let body = Pieces { hangs: true, ..Pieces::new(&["ab"]) };
        assert_eq!(read(body, 17, WITHIN).await, Err(BodyError::Incomplete));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unwanted_body_is_read_when_small_left_when_large_and_missed_when_incomplete() {
        assert_eq!(skip(Pieces::new(&["ab"]), 2, WITHIN).await, Ok(true));
        assert_eq!(skip(Pieces::new(&["abc"]), 2, WITHIN).await, Ok(false));
        let body = Pieces { hangs: true, ..Pieces::new(&["ab"]) };
        assert_eq!(skip(body, 2, WITHIN).await, Err(BodyError::Incomplete));
    }
}
