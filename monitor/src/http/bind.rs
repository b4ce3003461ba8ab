//! Where the server listens.

use std::io;

use tokio::net::TcpListener;

use super::HttpError;

/// Listens on `listen`, such as `127.0.0.1:19435`, `[::]:19435` or `localhost:0`.
pub async fn bind(listen: &str) -> Result<TcpListener, HttpError> {
    TcpListener::bind(listen).await.map_err(|source| explain(listen, source))
}

fn explain(listen: &str, source: io::Error) -> HttpError {
    let port = || listen.rsplit(':').next().unwrap_or_default().to_owned();
    match source.kind() {
        io::ErrorKind::AddrInUse => HttpError::InUse { listen: listen.to_owned(), port: port() },
        _ => HttpError::Listen { listen: listen.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_explained() {
        let first = bind("127.0.0.1:0").await.unwrap();
        let address = first.local_addr().unwrap();
        let message = bind(&address.to_string()).await.unwrap_err().to_string();
        let port = address.port();
        assert!(
            message.starts_with(&format!("cannot listen on 127.0.0.1:{port}: the address is in use.")),
            "{message}"
        );
        assert!(message.contains(&format!("`ss -ltnp 'sport = :{port}'`")), "{message}");
        assert!(message.contains("--listen") && message.contains("http.listen"), "{message}");
    }

    #[tokio::test]
    async fn an_address_that_is_none_of_ours_is_explained() {
        for address in ["192.0.2.1:19435", "nonsense", "127.0.0.1:99999"] {
            let message = bind(address).await.unwrap_err().to_string();
            assert!(message.starts_with(&format!("cannot listen on {address}: ")), "{message}");
            assert!(message.contains("--listen"), "{message}");
        }
    }
}
