//! Routes that belong together, and how parts become one site.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::auth::Authenticate;
use crate::reply::text;

/// Routes that belong together.
pub struct Part {
    /// What there is: a path, and what it tells.
    pub index: &'static [(&'static str, &'static str)],
    pub routes: Router,
}

/// All parts, with an index of them at `/`. Whatever is asked for, `auth` is asked first.
pub fn compose(parts: Vec<Part>, auth: Arc<impl Authenticate>) -> Router {
    let index = index(&parts);
    let missing = format!("there is:\n{index}");
    let mut site = Router::new().route("/", get(async move || text(StatusCode::OK, index)));
    for part in parts {
        site = site.merge(part.routes);
    }
    site.fallback(async move || text(StatusCode::NOT_FOUND, missing)).layer(from_fn(
        move |request: Request, next: Next| {
            let auth = auth.clone();
            async move { authenticated(&*auth, request, next).await }
        },
    ))
}

async fn authenticated(auth: &impl Authenticate, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match auth.authenticate(&head).await {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(refused) => refused.into_response(),
    }
}

/// One line for each path, their explanations below each other.
fn index(parts: &[Part]) -> String {
    let lines = || parts.iter().flat_map(|part| part.index);
    let width = lines().map(|(path, _)| path.len()).max().unwrap_or(0);
    let mut index = String::new();
    for (path, tells) in lines() {
        // Writing to a string does not fail.
        let _ = writeln!(index, "{path:width$}  {tells}");
    }
    index
}

#[cfg(test)]
mod tests {
    use axum::http::request::Parts;

    use super::*;
    use crate::auth::Refused;
    use crate::server::tests::get;

    /// Lets those in who know the word.
    struct Word;

    impl Authenticate for Word {
        async fn authenticate(&self, head: &Parts) -> Result<(), Refused> {
            match head.headers.get("authorization").map(|word| word.as_bytes()) {
                None => Err(Refused::Unknown { scheme: "Word" }),
                Some(b"Word please") => Ok(()),
                Some(_) => Err(Refused::Forbidden),
            }
        }
    }

    fn site() -> Router {
        let part = |path: &'static str| {
            Router::new().route(path, axum::routing::get(async move || text(StatusCode::OK, path)))
        };
        let parts = vec![
            Part { index: &[("/a", "the first"), ("/a/long/path", "another")], routes: part("/a") },
            Part { index: &[("/b", "the second")], routes: part("/b") },
        ];
        compose(parts, Arc::new(Word))
    }

    #[tokio::test]
    async fn nothing_is_told_before_the_caller_is_known() {
        for (path, word, status, end) in [
            ("/a", "", "401", "needs to know who asks\n"),
            ("/", "", "401", "needs to know who asks\n"),
            ("/nothing", "", "401", "needs to know who asks\n"),
            ("/a", "authorization: Word now\r\n", "403", "may not ask for this\n"),
            ("/a", "authorization: Word please\r\n", "200", "/a"),
            ("/b", "authorization: Word please\r\n", "200", "/b"),
            ("/nothing", "authorization: Word please\r\n", "404", "/b            the second\n"),
        ] {
            let response = get(site(), path, word).await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {word}: {response}");
            assert!(response.ends_with(end), "{path} {word}: {response}");
            assert_eq!(response.contains("www-authenticate: Word"), status == "401", "{path}: {response}");
        }
    }
}
