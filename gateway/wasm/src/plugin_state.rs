//! What a plugin's stage keeps of an exchange, from one call to the next.

use gateway_pipeline::{Exchange, Phase, UnknownCaller};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    bodies::gather,
    cache::{cache_lookups::CacheLookups, consumer::Audience},
    instance::Instance,
    pending_call::{Arrived, Pending, PendingCall, Talk},
};

#[derive(Default)]
pub(super) struct PluginState {
    /// With `isolation: request`.
    pub(super) tenant: Option<Tenant>,
    /// Of a plugin that keeps responses.
    pub(super) held: CacheLookups,
    /// The plugin wants to have the response's body with this memo, once its call has ended well.
    pub(super) follows: Option<Vec<u8>>,
    /// What its present call waits for, and what was found for it.
    pub(super) pending: Pending,
}

/// An instance that belongs to one exchange and waits with it from one phase to the next.
pub(super) struct Tenant {
    pub(super) instance: Box<Instance>,
    pub(super) permit: OwnedSemaphorePermit,
}

impl PluginState {
    /// The present stage's, from here on.
    pub(super) fn of(exchange: &mut Exchange) -> &mut Self {
        exchange.state_or_default()
    }

    /// The present stage's, if it keeps anything.
    pub(super) fn existing(exchange: &Exchange) -> Option<&Self> {
        exchange.state()
    }

    /// The exchange has to wait before the present call is made again. The last one counts.
    pub(super) fn wait_for(exchange: &mut Exchange, pending_call: PendingCall) {
        Self::of(exchange).pending.pending_call = Some(pending_call);
    }

    /// The instance that belongs to the exchange, if there is one.
    pub(super) fn take_tenant(exchange: &mut Exchange) -> Option<Tenant> {
        exchange.state_mut::<Self>()?.tenant.take()
    }

    /// The conversation with an upstream of TCP that the present call leads.
    pub(super) fn take_talk(exchange: &mut Exchange) -> Option<Talk> {
        exchange.state_mut::<Self>()?.pending.talk.take()
    }

    /// What has to come before the present call is made again, if it has to be.
    pub(super) fn pending_call(exchange: &Exchange) -> Option<&PendingCall> {
        Self::existing(exchange)?.pending.pending_call.as_ref()
    }

    /// The present call has ended: what was found for it is not the next one's.
    pub(super) fn end_call(exchange: &mut Exchange) {
        if let Some(state) = exchange.state_mut::<Self>() {
            state.pending = Pending::default();
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

    /// Waits until the call can be made again, and leaves what was found with the exchange.
    pub(super) async fn ready(exchange: &mut Exchange) {
        let Some(pending_call) = exchange.state_mut::<Self>().and_then(|state| state.pending.pending_call.take())
        else {
            return;
        };
        match pending_call.arrive().await {
            Arrived::Nothing => {}
            Arrived::Body => {
                let limit = exchange.bounds.buffer_bytes;
                let place = match exchange.phase {
                    Phase::Request => &mut exchange.request_body,
                    Phase::Response | Phase::Complete => &mut exchange.response_body,
                };
                // It is left in its place; what is wrong with it is found again by who asks for it.
                let _ = gather::read(place, limit).await;
            }
            Arrived::CallResult(finding) => Self::of(exchange).pending.results.push(finding),
            Arrived::Call(called) => Self::of(exchange).pending.calls.push(called),
            Arrived::Talk(talk) => Self::of(exchange).pending.talk = Some(talk),
        }
    }
}
