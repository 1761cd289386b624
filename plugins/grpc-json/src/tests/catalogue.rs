//! What can be called, as patterns and as OpenAPI; and bodies that are no JSON.

use plugin_sdk::{Catalogue, Endpoint};

use super::*;

fn document(config: Value) -> Value {
    plugin(config).inner().openapi().expect("it has one")
}

/// A validator of one of the document's schemas.
fn validator(document: &Value, name: &str) -> jsonschema::Validator {
    let schema = json!({ "$ref": format!("#/components/schemas/{name}"), "components": document["components"] });
    jsonschema::draft202012::new(&schema).unwrap()
}

#[test]
fn endpoints_are_patterns_of_the_gateway_and_where_clients_of_grpc_call() {
    let endpoints = library().inner().endpoints();
    let has = |method: &str, path: &str, about: &str| {
        let endpoint =
            Endpoint { method: method.to_owned(), path: path.to_owned(), about: format!("library.v1.Library/{about}") };
        assert!(endpoints.contains(&endpoint), "{endpoint:?} in {endpoints:#?}");
    };
    has("GET", "/v1/shelves/{name}/books/{name_2}", "GetBook");
    has("POST", "/v1/shelves/{parent}/books", "CreateBook");
    has("POST", "/v1/shelves/{*name}", "ArchiveBook");
    has("GET", "/v1/books:watch", "WatchBooks");
    has("POST", "/library.v1.Library/Purge", "Purge");
    has("POST", "/library.v1.Library/GetBook", "GetBook");
    has("LEND", "/v1/shelves/{name}/books/{name_2}", "LendBook");
    let purges = endpoints.iter().filter(|endpoint| endpoint.about.ends_with("/Purge"));
    assert_eq!(purges.count(), 1, "it is called as JSON where it is called as gRPC");
}

#[test]
fn openapi_says_paths_parameters_bodies_and_answers() {
    let document = document(json!({ "descriptors": "library" }));
    assert_eq!(document["openapi"], "3.1.0");
    let get = &document["paths"]["/v1/shelves/{name}/books/{name_2}"]["get"];
    assert_eq!(get["operationId"], "Library_GetBook");
    let names: Vec<_> = get["parameters"].as_array().unwrap().iter().map(|p| (&p["in"], &p["name"])).collect();
    let expected =
        ["fields", "tags", "author.name", "author.born", "genre", "lent"].map(|name| (json!("query"), json!(name)));
    let expected = [("path", "name"), ("path", "name_2")]
        .map(|(place, name)| (json!(place), json!(name)))
        .into_iter()
        .chain(expected);
    assert_eq!(names, expected.collect::<Vec<_>>().iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    let schema = |value: &Value, kind: &str| value["content"][kind]["schema"].clone();
    let book = json!({ "$ref": "#/components/schemas/library.v1.Book" });
    assert_eq!(schema(&get["responses"]["200"], "application/json"), book);
    let post = &document["paths"]["/v1/shelves/{parent}/books"]["post"];
    assert_eq!(schema(&post["requestBody"], "application/json"), book);
    let list = &document["paths"]["/v1/books"]["get"];
    let books = json!({ "type": "array", "items": book });
    assert_eq!(schema(&list["responses"]["200"], "application/json"), books);
    let watch = &document["paths"]["/v1/books:watch"]["get"]["responses"]["200"];
    assert_eq!(schema(watch, "application/x-ndjson"), book);
    let put = &document["paths"]["/v1/shelves/{name}/books/{name_2}/cover"]["put"];
    assert_eq!(schema(&put["requestBody"], "*/*"), json!({}));
    let archive = document["paths"]["/v1/shelves/{name}:archive"]["post"]["parameters"][0].clone();
    assert!(archive["description"].as_str().unwrap().contains("slashes"), "{archive}");
    assert!(
        document["paths"].as_object().unwrap().values().all(|path| path.get("lend").is_none()),
        "it has no place for it"
    );
}

#[test]
fn messages_are_as_their_schemas_say() {
    let book = json!({
        "name": "b", "displayTitle": "B", "genre": "GENRE_POETRY", "words": "7", "cover": "AAEC", "price": 1.5,
        "author": { "name": "Ann", "born": "-5" }, "tags": ["x"], "copies": { "a": 1 }, "loan": "1.500s",
        "published": "2024-02-29T12:00:00Z", "extra": { "a": [1.0, null] }, "note": "n", "number": 3,
        "attachment": { "@type": "type.googleapis.com/library.v1.Author", "name": "Ann" }, "sequel": { "name": "c" },
    });
    let text = serde_json::to_value(
        DynamicMessage::deserialize(pool().get_message_by_name("library.v1.Book").unwrap(), &book).unwrap(),
    );
    assert_eq!(text.unwrap(), book, "the example has the form of an answer");
    let document = document(json!({ "descriptors": "library" }));
    let validator = validator(&document, "library.v1.Book");
    assert!(validator.is_valid(&book), "{:?}", validator.iter_errors(&book).map(|e| e.to_string()).collect::<Vec<_>>());
    for wrong in
        [json!({ "words": 7 }), json!({ "tags": "x" }), json!({ "genre": "NONE" }), json!({ "copies": { "a": "1" } })]
    {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
    assert!(self::validator(&document, "Problem").is_valid(&json!({ "status": 404, "code": "NOT_FOUND" })));
}

#[test]
fn names_and_enumerations_are_as_configured() {
    let document = document(json!({ "descriptors": "library", "field-names": "proto", "enums": "numbers" }));
    let properties = &document["components"]["schemas"]["library.v1.Book"]["properties"];
    assert!(properties.get("display_title").is_some() && properties.get("displayTitle").is_none());
    assert_eq!(document["components"]["schemas"]["library.v1.Genre"]["enum"], json!([0, 1]));
}

#[test]
fn a_body_of_http_body_is_taken_as_it_is() {
    let put = |body: &[u8]| {
        TestRequest::new("PUT", "/v1/shelves/1/books/2/cover").header("content-type", "image/png").body(body)
    };
    let exchange = library().request_with_body(put(b"\x89PNG\0{"));
    let expected = json!({ "name": "shelves/1/books/2", "cover": { "contentType": "image/png", "data": "iVBORwB7" } });
    assert_eq!(called(&exchange, "library.v1.SetCoverRequest"), expected);
}
