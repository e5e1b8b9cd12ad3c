//! Bodies of requests that are not read to their end.
//!
//! actix reads what is left of a chunked body whose reader is gone, however long the client goes on.
//! Where the body is held until the answer has been sent, it closes the connection instead.

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::web::Bytes;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The rest of a request's body, on its way with the answer.
pub struct Unread(Payload);

impl Unread {
    /// Takes what is left of a request's body.
    pub fn take(request: &mut ServiceRequest) -> Self {
        Self(actix_web::HttpMessage::take_payload(request))
    }

    /// Of a handler that took it.
    pub fn new(payload: Payload) -> Self {
        Self(payload)
    }

    /// Lets an answer carry it to [`hold`].
    pub fn go_with(self, response: &mut HttpResponse) {
        response.extensions_mut().insert(self);
    }
}

/// Holds the unread body that an answer carries until the answer has been sent.
pub fn hold(carried: Option<Unread>, response: HttpResponse) -> HttpResponse {
    match carried {
        Some(unread) if !matches!(unread.0, Payload::None) => response.map_body(|_, answer| {
            BoxBody::new(Holding {
                answer,
                _unread: unread,
            })
        }),
        _ => response,
    }
}

struct Holding {
    answer: BoxBody,
    _unread: Unread,
}

impl MessageBody for Holding {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.answer).poll_next(context)
    }
}
