//! Where a scheduler is reached.

use std::fmt;
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use crate::error::ClusterError;

/// The port of schedulers, unless they are told another.
pub const SCHEDULER_PORT: u16 = 50050;

/// A host and a port: `host`, `host:port`, `[::1]:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or a number; of IPv6, in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl FromStr for Address {
    type Err = ClusterError;

    fn from_str(text: &str) -> Result<Self, ClusterError> {
        let wrong = |why| ClusterError::Address { text: text.to_owned(), why };
        let rest = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("the port is no number"))?)
            }
            _ => (rest, SCHEDULER_PORT),
        };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() {
            return Err(wrong("there is no host"));
        }
        if host.contains(['/', '@', ' ']) || (host.contains(':') && !bracketed) {
            return Err(wrong("the host is none"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl Address {
    /// As clients of the scheduler want it.
    pub fn url(&self) -> String {
        format!("http://{self}")
    }

    /// Whether anybody listens there, and why not.
    ///
    /// # Errors
    /// Where no connection can be made within the time, for each of the host's numbers.
    pub fn try_connect(&self, patience: Duration) -> Result<(), ClusterError> {
        let unreachable = |source| ClusterError::Unreachable { address: self.clone(), source };
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "this host has no address");
        for address in (host, self.port).to_socket_addrs().map_err(unreachable)? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(unreachable(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, host, port) in [
            ("node1:50051", "node1", 50051),
            ("node1", "node1", SCHEDULER_PORT),
            ("10.0.0.1", "10.0.0.1", SCHEDULER_PORT),
            ("http://node1:7/", "node1", 7),
            ("[::1]:9", "[::1]", 9),
            ("[::1]", "[::1]", SCHEDULER_PORT),
        ] {
            let read: Address = text.parse().unwrap();
            assert_eq!((read.host.as_str(), read.port), (host, port), "{text}");
            assert_eq!(read.to_string().parse::<Address>().unwrap(), read);
        }
        for text in ["", ":50050", "node:", "node:x", "node:0", "node:70000", "::1", "a b:1", "user@node:1", "node/x"] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("host:port"), "{text}: {error}");
        }
    }

    #[test]
    fn silence_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
        address.try_connect(Duration::from_secs(5)).unwrap();
        drop(listener);
        let error = address.try_connect(Duration::from_secs(5)).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("loam scheduler"), "{error}");
    }
}
