//! Who is let in by whom.

use super::*;
use crate::link::identity;
use chrono::Utc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Parts {
    authority: Identity,
    control: Identity,
}

fn parts() -> Parts {
    let authority = identity::authority("test", Utc::now()).expect("made");
    let control = identity::control(&authority, Utc::now()).expect("made");
    Parts { authority, control }
}

fn node(authority: &Identity) -> Identity {
    let (key, csr) = identity::request("n1").expect("made");
    let certificate = identity::sign(authority, "n1", &csr, Utc::now()).expect("signed");
    Identity { certificate, key }
}

/// Connects and passes one byte each way; says what certificate the control host saw.
async fn meet(parts: &Parts, connector: TlsConnector) -> std::io::Result<Option<String>> {
    let (a, b) = tokio::io::duplex(1 << 16);
    let acceptor = acceptor(&parts.authority.certificate, &parts.control).expect("set up");
    let server = async {
        let mut stream = acceptor.accept(b).await?;
        let seen = stream.get_ref().1.peer_certificates();
        let seen = seen.and_then(|c| c.first()).map(|c| fingerprint(c));
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.flush().await?;
        std::io::Result::Ok(seen)
    };
    let client = async {
        let mut stream = connector.connect(control_name(), a).await?;
        stream.write_u8(7).await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    let (seen, answer) = tokio::join!(server, client);
    assert_eq!(answer?, 7);
    seen
}

#[actix_rt::test]
async fn a_node_with_a_certificate_is_known_by_it() {
    let parts = parts();
    let node = node(&parts.authority);
    let connector = connector(&parts.authority.certificate, &node).expect("set up");
    let seen = meet(&parts, connector).await.expect("met");
    let own = certificate_of(&node.certificate).expect("read");
    assert_eq!(seen, Some(fingerprint(&own)));
}

#[actix_rt::test]
async fn a_node_that_joins_knows_the_authority_by_its_fingerprint() {
    let parts = parts();
    let authority = certificate_of(&parts.authority.certificate).expect("read");
    let (connector, pinned) = joining(&fingerprint(&authority)).expect("set up");
    assert_eq!(meet(&parts, connector).await.expect("met"), None);
    assert_eq!(pinned.authority(), Some(authority));
}

#[actix_rt::test]
async fn another_authority_is_refused_by_either_end() {
    let (right, wrong) = (parts(), parts());
    let other = certificate_of(&wrong.authority.certificate).expect("read");
    let (stranger, _) = joining(&fingerprint(&other)).expect("set up");
    let error = meet(&right, stranger).await.expect_err("refused");
    assert!(error.to_string().contains("fingerprint"), "{error}");
    // A certificate of another authority does not open this control host.
    let foreign = node(&wrong.authority);
    let connector = connector(&right.authority.certificate, &foreign).expect("set up");
    assert!(meet(&right, connector).await.is_err());
}
