//! Lets pages in browsers call gRPC services: gRPC-Web (grpc/doc/PROTOCOL-WEB.md), binary and text.
//!
//! To the service it is gRPC. What browsers cannot see, the trailers, comes to them as a last frame of the body.

#[cfg(test)]
mod tests;

use base64ct::{Base64, Encoding};
use plugin_sdk::{
    Body, BodyError, Decision, Error, Item, NoConfig, Phases, Plugin, Problem, Problems, Request, RequestBodyFilter,
    RequestFilter, Response, ResponseDecision, ResponseFilter, ResponseStream, Selection,
    body::{Chunk, ChunkResult, Fields},
    export_plugin,
};

const BINARY: &str = "application/grpc-web";
const TEXT: &str = "application/grpc-web-text";
/// What the client speaks, for the response phase: the content type that it gets.
const ANSWER: &str = "grpc-web.answer";
/// The flag of a frame that has the trailers.
const TRAILERS: u8 = 0x80;

/// The plugin.
struct GrpcWeb {
    request: Selection,
    response: Selection,
}

impl Plugin for GrpcWeb {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Problems> {
        let header = |name: &str| Item::Header(name.to_owned());
        let answer = |name: &str| Item::ResponseHeader(name.to_owned());
        Ok(Self {
            request: Selection::new(&[header("content-type"), header("accept")]),
            response: Selection::new(&[
                Item::Attribute(ANSWER.to_owned()),
                answer("content-type"),
                answer("grpc-status"),
            ]),
        })
    }

    fn phases(&self) -> Phases {
        Phases { request: true, response: true, completion: false, ..Phases::default() }
    }
}

/// What follows `application/grpc-web` or `application/grpc-web-text`: `+proto`, or nothing.
fn codec<'a>(content_type: &'a [u8], kind: &str) -> Option<&'a str> {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let (own, rest) = essence.split_at_checked(kind.len())?;
    let rest = std::str::from_utf8(rest).ok()?;
    (own.eq_ignore_ascii_case(kind.as_bytes()) && (rest.is_empty() || rest.starts_with('+'))).then_some(rest)
}

/// What a gRPC-Web request says about itself.
struct Call {
    /// Its body is base64.
    text: bool,
    /// The content type of the request that the service gets.
    content_type: String,
    /// The content type of the response that the client gets.
    answer: String,
}

impl GrpcWeb {
    /// None if the request is not gRPC-Web.
    fn call(&self, request: &Request) -> Option<Call> {
        let values = self.request.read(request, None);
        let mut values = values.iter();
        let kind = values.next().flatten().unwrap_or_default();
        let accept = values.next().flatten().unwrap_or_default();
        let (text, codec) = match codec(kind, TEXT) {
            Some(codec) => (true, codec),
            None => (false, codec(kind, BINARY)?),
        };
        // Who asks for text gets text, also for a binary request.
        let wants_text = accept.split(|byte| *byte == b',').any(|range| self::codec(range, TEXT).is_some());
        let answer = if text || wants_text { TEXT } else { BINARY };
        Some(Call { text, content_type: format!("application/grpc{codec}"), answer: format!("{answer}{codec}") })
    }
}

impl Call {
    fn forward(&self, request: &Request) -> Result<Decision, Error> {
        request.set_attribute(ANSWER, &self.answer)?;
        request.set_header("content-type", &self.content_type)?;
        // They were for this plugin.
        request.remove_header("accept")?;
        request.remove_header("x-grpc-web")?;
        Ok(Decision::Next)
    }
}

impl RequestFilter for GrpcWeb {
    fn on_request(&mut self, request: &Request) -> Result<Decision, Error> {
        match self.call(request) {
            None => Ok(Decision::Next),
            Some(call) if call.text => Ok(Decision::ReadBody),
            Some(call) => call.forward(request),
        }
    }
}

impl RequestBodyFilter for GrpcWeb {
    fn on_request_body(&mut self, request: &Request, body: Result<Body, BodyError>) -> Result<Decision, Error> {
        let refuse = |status, detail: &str| {
            let problem = Problem::new(status).detail(detail).member("request-id", request.id());
            Ok(Decision::from(problem))
        };
        let body = match body {
            Ok(body) => body,
            Err(BodyError::TooLarge(_)) => return refuse(413, "the body is too large"),
            Err(error) => return Err(error.into()),
        };
        let Some(bytes) = decoded(&body.bytes) else {
            return refuse(400, "the body is not base64, though its content type says so");
        };
        request.replace_body(Body { bytes, trailers: body.trailers })?;
        let call = self.call(request).ok_or_else(|| Error::new("the request is not gRPC-Web any more"))?;
        call.forward(request)
    }
}

impl ResponseFilter for GrpcWeb {
    fn on_response(&mut self, request: &Request, response: &Response) -> Result<ResponseDecision, Error> {
        let values = self.response.read(request, Some(response));
        let values: Vec<_> = values.iter().collect();
        let [Some(answer), Some(kind), status] = &values[..] else { return Ok(ResponseDecision::Next) };
        // An answer of the gateway's or of a plugin's has an HTTP status, which clients understand.
        if !kind.starts_with(b"application/grpc") {
            return Ok(ResponseDecision::Next);
        }
        response.set_header("content-type", answer)?;
        // Without messages the head has it all.
        if status.is_some() {
            return Ok(ResponseDecision::Next);
        }
        Ok(ResponseDecision::StreamBody(vec![u8::from(answer.starts_with(TEXT.as_bytes()))]))
    }
}

impl ResponseStream for GrpcWeb {
    fn on_response_chunk(&mut self, chunk: Chunk) -> Result<ChunkResult, Error> {
        let Chunk { state, bytes, end } = chunk;
        let consumed = bytes.len();
        let mut output = bytes;
        if let Some(trailers) = end {
            output.extend(last_frame(&trailers)?);
        }
        // Each chunk has its own padding: grpc/doc/PROTOCOL-WEB.md lets it be wherever something is flushed.
        let output = if state == [1] { Base64::encode_string(&output).into_bytes() } else { output };
        Ok(ChunkResult { consumed, output, ..ChunkResult::default() })
    }
}

export_plugin!(GrpcWeb: request, request_body, response, response_stream);

/// The trailers as a frame: lines as HTTP/1.1 has them.
fn last_frame(trailers: &Fields) -> Result<Vec<u8>, Error> {
    let mut block = Vec::new();
    for (name, value) in trailers {
        block.extend_from_slice(name.as_bytes());
        block.extend_from_slice(b": ");
        block.extend_from_slice(value);
        block.extend_from_slice(b"\r\n");
    }
    let length = u32::try_from(block.len()).map_err(|_| Error::new("the trailers are too long"))?;
    let mut frame = vec![TRAILERS];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend(block);
    Ok(frame)
}

/// Base64 of several parts, each of which may have padding at its end.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut start = 0;
    while start < text.len() {
        let padded = text[start..].iter().position(|byte| *byte == b'=');
        // Up to the end of the four in which there is padding.
        let end = padded.map_or(text.len(), |at| (start + at / 4 * 4 + 4).min(text.len()));
        bytes.extend(Base64::decode_vec(std::str::from_utf8(&text[start..end]).ok()?).ok()?);
        start = end;
    }
    Some(bytes)
}
