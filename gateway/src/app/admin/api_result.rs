//! How the API says no, and how it reads what it is sent.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    response::{IntoResponse, Response},
};
use gateway_config::Problems;
use http::{HeaderValue, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::HEAD_TIMEOUT;
use crate::app::StartError;

/// Of a request's body: a configuration has up to 16 MiB.
const BODY: usize = 16 * 1024 * 1024;

/// Why something was not done (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refusal {
    #[schema(example = "about:blank")]
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    /// What is wrong with a configuration, each with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Misfit>,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Misfit {
    /// From 1 on; absent where the whole is the problem.
    pub(super) line: Option<usize>,
    /// In characters, from 1 on.
    pub(super) column: Option<usize>,
    pub(super) message: String,
}

pub(super) type ApiResult<T> = Result<T, Refusal>;

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { r#type: "about:blank", title, status: status.as_u16(), detail: detail.into(), problems: Vec::new() }
    }

    pub(super) fn not_found(what: &str, name: &str) -> Self {
        let name: String = name.chars().take(100).collect();
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what} `{name}`"))
    }

    /// A configuration that cannot be put in force.
    pub(super) fn of_start(error: &StartError) -> Self {
        match error {
            StartError::Config(problems) => Self {
                problems: misfits(problems),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "the configuration is not valid")
            },
            StartError::Bind(..) => Self::new(StatusCode::CONFLICT, error.to_string()),
            StartError::Io(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

pub(super) fn misfits(problems: &Problems) -> Vec<Misfit> {
    let misfit = |problem: &gateway_config::Problem| Misfit {
        line: problem.location.map(|location| location.line),
        column: problem.location.map(|location| location.column),
        message: problem.message.clone(),
    };
    problems.iter().map(misfit).collect()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The whole of a request's body as text, of which there is some.
pub(super) struct Text(pub(super) String);

impl<S: Send + Sync> FromRequest<S> for Text {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        let reading = Limited::new(request.into_body(), BODY).collect();
        let read = tokio::time::timeout(HEAD_TIMEOUT, reading).await;
        let read = read.map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))?;
        let bytes = read.map_err(|error| match error.is::<LengthLimitError>() {
            true => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {BODY} bytes")),
            false => Refusal::new(StatusCode::BAD_REQUEST, "the body is not whole"),
        })?;
        let text = String::from_utf8(bytes.to_bytes().into());
        if text.as_ref().is_ok_and(String::is_empty) {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "the request has no body"));
        }
        Ok(Self(text.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the body is not UTF-8"))?))
    }
}

/// A body of JSON.
pub(super) struct Told<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Told<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected a body of application/json"));
        }
        let Text(text) = Text::from_request(request, state).await?;
        let wrong = |error: serde_json::Error| Refusal::new(StatusCode::BAD_REQUEST, format!("the body: {error}"));
        // A list would be taken for the fields in their order.
        if !text.trim_start().starts_with('{') {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "the body: expected an object"));
        }
        serde_json::from_str(&text).map(Self).map_err(wrong)
    }
}

/// What a query says.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(Refusal::new(StatusCode::BAD_REQUEST, error.body_text())),
        }
    }
}

/// What a path names.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(named)) => Ok(Self(named)),
            Err(error) => Err(Refusal::new(StatusCode::NOT_FOUND, error.body_text())),
        }
    }
}
