//! What somebody asks for: a grant with fresh keys, and the statements about it.

use std::sync::atomic::{AtomicUsize, Ordering};

use breakglass::{
    client::ClientError,
    domain::{grant::Grant, id::RequestId},
    grpc::v1,
    jose::{GeneralJws, Typ, jwe},
};
use serde_json::{Value, json};

use crate::{
    client::{Client, secret},
    kit,
    world::{World, canonical, now},
};

/// A grant, who signs it, and the name from which its keys follow.
#[derive(Clone)]
pub struct Wish {
    pub grant: Value,
    pub payload: Vec<u8>,
    by: String,
    redeem_key: String,
    about: Value,
}

impl World {
    /// Erin wishes to read for a minute, and will wait ten for approvals; `changes` overwrites members of the grant.
    pub fn wish(&self, changes: Value) -> Wish {
        self.wish_by("erin/file", changes)
    }

    /// The wish of whoever has this key; it becomes `requester_key`.
    pub fn wish_by(&self, by: &str, changes: Value) -> Wish {
        static WISHES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("wish {}", WISHES.fetch_add(1, Ordering::Relaxed));
        let now = now();
        let times =
            json!({"requested_at": now, "expires_at": now + 600, "requester_key": kit::key(by).kid()});
        let grant = kit::patch(kit::patch(kit::grant_named(&self.charter, &name), times), changes);
        let about = json!({"iss": grant["iss"], "charter": grant["charter"]});
        Wish {
            payload: canonical(&grant),
            grant,
            by: by.to_owned(),
            redeem_key: format!("{name}/redeem"),
            about,
        }
    }
}

impl Wish {
    pub fn id(&self) -> RequestId {
        Grant::id_of(&self.payload)
    }

    /// The request, as its requester signs it.
    pub fn request(&self) -> GeneralJws {
        let at = self.grant["requested_at"].as_i64().unwrap();
        kit::key(&self.by).jws(Typ::Request, &self.payload, at)
    }

    /// A custodian's statement over it, given now.
    pub fn verdict(&self, device: &str, typ: Typ) -> GeneralJws {
        kit::key(device).jws(typ, &self.payload, now())
    }

    /// A withdrawal or redemption by a key, given now.
    pub fn statement(&self, by: &str, typ: Typ) -> GeneralJws {
        static STATEMENTS: AtomicUsize = AtomicUsize::new(0);
        let nonce = kit::nonce(&format!("statement {}", STATEMENTS.fetch_add(1, Ordering::Relaxed)));
        let about = kit::patch(self.about.clone(), json!({"request_id": self.id(), "nonce": nonce}));
        kit::key(by).jws(typ, &canonical(&about), now())
    }

    /// Opens what was redeemed.
    pub fn open(&self, jwe: &str) -> String {
        let jwt = jwe::decrypt(jwe, &secret(&self.redeem_key)).unwrap();
        String::from_utf8(jwt.to_vec()).unwrap()
    }

    pub fn file(&self, client: &Client) -> Result<v1::Request, ClientError> {
        client.file(&self.request())
    }

    pub fn approve(&self, client: &Client, device: &str) -> Result<v1::Request, ClientError> {
        client.submit(&self.id().to_string(), &self.verdict(device, Typ::Approval))
    }

    pub fn deny(&self, client: &Client, device: &str) -> Result<v1::Request, ClientError> {
        client.submit(&self.id().to_string(), &self.verdict(device, Typ::Denial))
    }

    pub fn withdraw(&self, client: &Client) -> Result<v1::Request, ClientError> {
        client.withdraw(&self.statement(&self.by, Typ::Withdrawal))
    }

    /// The JWT, waiting as long as the daemon lets one wait.
    pub fn redeem(&self, client: &Client) -> Result<String, ClientError> {
        let (jwe, _) = client.redeem(&self.statement(&self.by, Typ::Redeem), 30_000)?;
        Ok(self.open(&jwe))
    }

    /// Filed, approved by alice and bob, and redeemed.
    pub fn grant_all(&self, client: &Client) -> Result<String, ClientError> {
        self.file(client)?;
        self.approve(client, "alice/1")?;
        self.approve(client, "bob/1")?;
        self.redeem(client)
    }
}
