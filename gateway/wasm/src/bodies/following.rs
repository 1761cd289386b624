//! That a plugin wants a response's body chunk by chunk: said during a call, acted on when the call has ended well.

use gateway_pipeline::Exchange;

/// A plugin wants to have the body, once its call has ended well. In the stash under its stage's position.
pub(crate) struct Following {
    pub(crate) memo: Vec<u8>,
}

impl Following {
    pub(crate) fn note(exchange: &mut Exchange, memo: Vec<u8>) {
        Self::take(exchange);
        let stage = exchange.stage;
        exchange.stash.push((stage, Box::new(Self { memo })));
    }

    pub(crate) fn take(exchange: &mut Exchange) -> Option<Self> {
        let stage = exchange.stage;
        let index = exchange.stash.iter().position(|(at, kept)| *at == stage && kept.is::<Self>())?;
        exchange.stash.swap_remove(index).1.downcast().ok().map(|following| *following)
    }
}
