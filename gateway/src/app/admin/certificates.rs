//! The certificates that listeners show, and until when.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{Json, extract::State};
use gateway_server::tls::Shown;
use serde::Serialize;
use utoipa::ToSchema;

use super::panel::Panel;

/// A certificate.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CertificateView {
    /// The listeners that show it.
    listeners: Vec<String>,
    subject: String,
    issuer: String,
    /// DNS names.
    names: Vec<String>,
    /// Hexadecimal.
    serial: String,
    /// SHA-256, hexadecimal.
    fingerprint: String,
    /// Seconds since 1970.
    not_before: i64,
    /// Seconds since 1970.
    not_after: i64,
    /// Whole days until then; negative afterwards.
    days_left: i64,
}

/// The certificates that listeners show, as they were loaded; the one that expires first comes first.
#[utoipa::path(get, path = "/certificates", tag = "gateway", responses((status = 200, body = Vec<CertificateView>)))]
pub(super) async fn certificates(State(panel): State<Arc<Panel>>) -> Json<Vec<CertificateView>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    let mut views: Vec<CertificateView> = Vec::new();
    for (listener, shown) in panel.snapshot().certificates() {
        let Shown { subject, issuer, names, serial, fingerprint, not_before, not_after } = shown;
        match views.iter_mut().find(|view| view.fingerprint == fingerprint) {
            Some(view) => view.listeners.push(listener),
            None => views.push(CertificateView {
                listeners: vec![listener],
                subject,
                issuer,
                names,
                serial,
                fingerprint,
                not_before,
                not_after,
                days_left: (not_after - now).div_euclid(24 * 60 * 60),
            }),
        }
    }
    views.sort_by_key(|view| view.not_after);
    Json(views)
}
