//! The type of a transaction's body. It exists for its lifetimes: a plain boxed future in the bound of [`crate::Db::tx`] would forbid the body to borrow
//! from around the call.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The future a transaction's body returns: it may borrow the transaction (`'t`) and anything that lives around the call (`'c`).
pub struct Work<'c, 't, T> {
    future: Pin<Box<dyn Future<Output = T> + Send + 't>>,
    /// Says that `'c` outlives `'t`, which is what lets the body borrow.
    around: PhantomData<&'t &'c ()>,
}

/// Wraps the body: `db.tx(|tx| work(async move { .. }))`.
pub fn work<'c, 't, T>(f: impl Future<Output = T> + Send + 't) -> Work<'c, 't, T> {
    Work { future: Box::pin(f), around: PhantomData }
}

impl<T> Future for Work<'_, '_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.future.as_mut().poll(cx)
    }
}
