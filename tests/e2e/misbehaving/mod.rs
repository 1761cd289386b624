//! Guests that misbehave on purpose: each has one right outcome, and nothing else on the gateway notices.

mod loading;
mod running;
