//! What a plugin's stage keeps of an exchange, from one call to the next.

use std::{cell::RefCell, rc::Rc};

use gateway_pipeline::{Exchange, Phase, UnknownCaller};

use gateway_state::LeaseTurn;

use super::{
    bodies::gather::{self, Unread, Whole},
    cache::{cache_lookups::CacheLookups, consumer::Audience},
    own_instance::OwnInstance,
    services::LocalFuture,
};

#[derive(Default)]
pub(super) struct PluginState {
    /// With `isolation: request`.
    pub(super) own: OwnInstance,
    /// Of a plugin that keeps responses.
    pub(super) held: CacheLookups,
    /// What the stage waits for before its next call.
    pub(super) awaited: Option<Awaited>,
    /// It is the exchange's turn to acquire a lease, until its call has ended.
    pub(super) turn: Option<LeaseTurn>,
    /// How often it has waited for leases.
    pub(super) waits: u8,
    /// The body that the next call gets.
    pub(super) body: Option<WholeBody>,
    /// The states of its body filters.
    pub(super) request_stream: Option<StreamState>,
    pub(super) response_stream: Option<StreamState>,
    /// The state of its filter of messages.
    pub(super) messages: Option<StreamState>,
}

/// What a stage waits for without an instance.
pub(super) enum Awaited {
    /// The whole body of the message that the phase is about.
    Body,
    /// The release of a lock in the cache or of a lease.
    Release(LocalFuture<'static, Option<LeaseTurn>>),
}

/// A body that was read, or why it could not be.
pub(super) type WholeBody = Result<Whole, Unread>;

/// The present state of a filter of bodies or messages, which outlives the stage's turn.
pub(super) type StreamState = Rc<RefCell<Vec<u8>>>;

impl PluginState {
    /// The present stage's, from here on.
    pub(super) fn of(exchange: &mut Exchange) -> &mut Self {
        exchange.state_or_default()
    }

    /// The present stage's, if it keeps anything.
    pub(super) fn existing(exchange: &Exchange) -> Option<&Self> {
        exchange.state()
    }

    /// The place of the instance that belongs to the exchange.
    pub(super) fn own_instance(exchange: &mut Exchange) -> OwnInstance {
        Self::of(exchange).own.clone()
    }

    /// The body that was read for the call that is made now.
    pub(super) fn take_body(exchange: &mut Exchange) -> Option<WholeBody> {
        exchange.state_mut::<Self>()?.body.take()
    }

    /// Whether the stage waits for a lock or a lease.
    pub(super) fn awaits_release(exchange: &Exchange) -> bool {
        Self::existing(exchange).is_some_and(|state| matches!(state.awaited, Some(Awaited::Release(_))))
    }

    /// The stage waits for the body.
    pub(super) fn await_body(exchange: &mut Exchange) {
        Self::of(exchange).awaited = Some(Awaited::Body);
    }

    /// The stage's turn has ended: what it waited for is not the next one's.
    pub(super) fn end_turn(exchange: &mut Exchange) {
        if let Some(state) = exchange.state_mut::<Self>() {
            state.awaited = None;
            state.body = None;
            state.turn = None;
        }
    }

    /// A call has ended, and the stage waits for something again: others may have their turn meanwhile.
    pub(super) fn end_lease_turn(exchange: &mut Exchange) {
        if let Some(state) = exchange.state_mut::<Self>() {
            state.turn = None;
        }
    }

    /// Finds out whose responses are looked for. A request in the background asks for whom the client's did.
    pub(super) fn find_audience(exchange: &mut Exchange) -> Result<Audience, UnknownCaller> {
        let held = Self::existing(exchange).map(|state| &state.held);
        if let Some(audience) = held.filter(|held| held.renewal).and_then(|held| held.audience) {
            return Ok(audience);
        }
        let audience = Audience::of(exchange)?;
        Self::of(exchange).held.audience = Some(audience);
        Ok(audience)
    }

    /// Whose responses were looked for, or would be.
    pub(super) fn audience(exchange: &mut Exchange) -> Result<Audience, UnknownCaller> {
        match Self::existing(exchange).and_then(|state| state.held.audience) {
            Some(audience) => Ok(audience),
            None => Self::find_audience(exchange),
        }
    }

    /// Waits until the stage can be called again, and leaves what it gets then with the exchange.
    pub(super) async fn ready(exchange: &mut Exchange) {
        match exchange.state_mut::<Self>().and_then(|state| state.awaited.take()) {
            None => {}
            Some(Awaited::Release(released)) => {
                let turn = released.await;
                Self::of(exchange).turn = turn;
            }
            Some(Awaited::Body) => {
                let limit = exchange.bounds.buffer_bytes;
                let place = match exchange.phase {
                    Phase::Request => &mut exchange.request_body,
                    Phase::Response | Phase::Complete => &mut exchange.response_body,
                };
                // It stays in its place as well: a plugin that reads it does not have to replace it.
                let body = gather::read(place, limit).await;
                Self::of(exchange).body = Some(body);
            }
        }
    }
}
