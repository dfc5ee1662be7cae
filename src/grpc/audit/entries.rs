//! `StreamEntries`: the log's bytes in order.
//!
//! Invariants: memory is a few messages per stream, however long the log and however slow the reader; a message stays
//! below the 4 MiB that clients accept by default.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{Audit, out_of_range, v1};
use crate::engine::EngineError;
use crate::grpc::front::Front;
use crate::grpc::roster::Caller;

/// Entries of one message, in bytes; a single entry has at most 65,535.
const MAX_BYTES: usize = 1024 * 1024;
/// Messages that wait for a slow reader.
const BUFFER: usize = 2;

pub(super) type Entries = ReceiverStream<Result<v1::StreamEntriesResponse, Status>>;
type Sender = mpsc::Sender<Result<v1::StreamEntriesResponse, Status>>;

impl Audit {
    pub(super) fn entries(&self, request: &Request<v1::StreamEntriesRequest>) -> Result<Entries, Status> {
        let entered = self.enter(request)?;
        let v1::StreamEntriesRequest { start, end } = *request.get_ref();
        let end = if end == 0 { self.front.engine.store().size() } else { self.existing(end)? };
        if start > end {
            return Err(out_of_range(format!("the range from {start} to {end} runs backwards")));
        }
        let place = self.front.stream_place(&entered.caller)?;
        let (sender, receiver) = mpsc::channel(BUFFER);
        let front = Arc::clone(&self.front);
        tokio::spawn(async move {
            let _place = place;
            // `None`: the client is gone, or was told.
            let _ = send(&front, &entered.caller, start..end, &sender).await;
        });
        Ok(ReceiverStream::new(receiver))
    }
}

async fn send(front: &Front, caller: &Caller, range: std::ops::Range<u64>, sender: &Sender) -> Option<()> {
    let store = Arc::clone(front.engine.store());
    let mut start = range.start;
    let mut batches = store.read(range);
    loop {
        // A charter can take the right away while a long stream runs.
        if let Err(error) = front.still(caller) {
            return sender.send(Err(error.into())).await.ok();
        }
        let batch = match batches.next().await {
            Ok(Some(batch)) => batch,
            Ok(None) => return None,
            Err(error) => {
                let status = front.refused(caller, &EngineError::Store(error));
                return sender.send(Err(status)).await.ok();
            }
        };
        let mut message = v1::StreamEntriesResponse { start, entries: Vec::new() };
        let mut bytes = 0;
        for entry in batch {
            if bytes + entry.len() > MAX_BYTES {
                let full =
                    std::mem::replace(&mut message, v1::StreamEntriesResponse { start, entries: Vec::new() });
                sender.send(Ok(full)).await.ok()?;
                bytes = 0;
            }
            bytes += entry.len();
            start += 1;
            message.entries.push(entry);
        }
        sender.send(Ok(message)).await.ok()?;
    }
}
