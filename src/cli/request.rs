//! `breakglass request`: asks for access.

use std::{ops::ControlFlow, time::Duration};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde_json::json;

use super::{
    Session, clock,
    daemon::{Daemon, insist, state_name},
    device,
    exit::Problem,
    keyring::Keyring,
    offline, random, redeem,
    setup::Setup,
    statement::{self, Statement},
    text::{self, Fields},
    view,
};
use crate::{
    domain::{
        charter::{Charter, Holder, Profile, RequesterKey, Role},
        detail::{self, Detail, Pattern, Word},
        grant::{Confirmation, Grant, Reason},
        id::{Audience, Incident, PrincipalId, ProfileId},
        statement::SignedGrant,
    },
    grpc::v1,
    jose::{GeneralJws, Signature, Typ},
};

/// Ask for emergency access
///
/// Makes fresh keys for this request, signs exactly what you ask for, and files it. What the charter leaves no choice
/// about may be left out: the profile, its audience, and the longest life are assumed. Tell the custodians the six words.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass request --reason \"orders are stuck\" --incident INC-7 \\
    --profile db-read --ttl 15m \\
    --detail '{\"type\":\"database\",\"actions\":[\"read\"],\"locations\":[\"pg/prod/orders\"]}'
  TOKEN=$(breakglass request --reason \"orders are stuck\" --incident INC-7 --wait)
  breakglass request export 3fz0Xq --out request.json")]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The kind of access, as the charter names it
    #[arg(long, value_name = "ID")]
    profile: Option<ProfileId>,
    /// The audience: who will accept the token
    #[arg(long, value_name = "NAME")]
    aud: Option<Audience>,
    /// One object of `authorization_details`, as JSON; may be repeated
    #[arg(long, value_name = "JSON", value_parser = parse_detail)]
    detail: Vec<Detail>,
    /// Why you need it, in a sentence that the custodians will read
    #[arg(long, value_name = "TEXT", required = true, value_parser = |text: &str| Reason::new(text.to_owned()))]
    reason: Option<Reason>,
    /// The incident, as your tracker names it
    #[arg(long, value_name = "ID", required = true)]
    incident: Option<Incident>,
    /// How long the token lives, from issuance: 90s, 15m, 1h [default: the longest that the profile allows]
    #[arg(long, value_name = "TIME", value_parser = text::parse_duration)]
    ttl: Option<u32>,
    /// How long to wait for approvals [default: the longest that the profile allows]
    #[arg(long, value_name = "TIME", value_parser = text::parse_duration)]
    window: Option<u32>,
    /// For whom, where a tool asks for a person [default: whom your key belongs to]
    #[arg(long, value_name = "ID")]
    sub: Option<PrincipalId>,
    /// This is a rehearsal
    #[arg(long)]
    drill: bool,
    /// Wait for the approvals, then redeem: the token is all that stdout gets
    #[arg(long)]
    wait: bool,
    #[command(flatten, next_help_heading = "Where the profile demands a hardware key of the requester")]
    device: device::DeviceArgs,
}

fn parse_detail(text: &str) -> Result<Detail, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("{error}; write {{\"type\":\"…\",\"actions\":[\"…\"],\"locations\":[\"…\"]}}")
    })
}

/// What else there is to do with a request.
#[derive(Debug, Subcommand)]
enum Command {
    Export(offline::ExportArgs),
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    if let Some(Command::Export(args)) = &args.command {
        return offline::export(args, session);
    }
    let (Some(reason), Some(incident)) = (&args.reason, &args.incident) else {
        let message = "say why, and for which incident: --reason TEXT --incident ID";
        return Err(Problem::usage("REASON_NEEDED", message).into());
    };
    let setup = Setup::load(session.config.as_deref())?;
    let signer = Signer::choose(args, &setup, session)?;
    let (cnf, redeem_key) = (random::key()?, random::key()?);
    let now = clock::now();
    let profile = profile(&setup.charter, args.profile.as_ref())?;
    let grant = Grant {
        iss: setup.charter.document().iss.clone(),
        charter: setup.charter.digest(),
        profile: profile.id.clone(),
        nonce: random::nonce()?,
        sub: args.sub.clone().unwrap_or_else(|| signer.holder.principal.clone()),
        client_id: signer.holder.principal.clone(),
        requester_key: signer.holder.key.thumbprint(),
        aud: args.aud.clone().unwrap_or_else(|| profile.aud.clone()),
        authorization_details: details(profile, &args.detail)?,
        reason: reason.clone(),
        incident: incident.clone(),
        ttl: args.ttl.unwrap_or(profile.max_ttl),
        cnf: Confirmation::Jkt(cnf.public.thumbprint()),
        redeem_key: redeem_key.public,
        requested_at: now,
        expires_at: now.saturating_add(i64::from(args.window.unwrap_or(profile.approval_window))),
        drill: args.drill,
    };
    let payload = grant.to_bytes().context("the request cannot be signed as it stands")?;
    Grant::parse(&payload).context("the request cannot be signed as it stands")?;
    setup.charter.permits(&grant).context("the charter does not permit this request")?;
    let daemon = setup.connect()?;
    let keyring = Keyring::new(&setup.config.state_dir);
    let told = Told { setup: &setup, profile, grant: &grant, keyring: &keyring };
    let signature = signer.sign(args, &told, &payload, session)?;
    let jws = statement::single(payload, signature);
    let filing = SignedGrant::verify(jws.clone(), &setup.charter)?;
    let id = filing.id();
    keyring.sweep(now);
    keyring.keep(&id, &jws, &cnf, &redeem_key)?;
    let filed = file(&daemon, &keyring, &filing, &jws)?;
    if args.wait {
        session.out.say(told.text(&id.to_string(), &view::grant::phrase(&id), now))?;
        return wait(&setup, &daemon, &filing, session);
    }
    let result = json!({
        "request_id": id,
        "words": view::grant::phrase(&id),
        "state": state_name(&filed),
        "approvals_until": grant.expires_at,
        "cnf_key": keyring.cnf_path(&id),
    });
    session.out.result(&result, || told.text(&id.to_string(), &view::grant::phrase(&id), now))
}

/// Who signs the request.
struct Signer<'a> {
    holder: &'a Holder,
    with: With,
    /// What the file key is for, besides TLS.
    file: statement::FileKey,
}

enum With {
    File,
    Device(Box<device::Custodian>),
}

impl<'a> Signer<'a> {
    fn choose(args: &Args, setup: &'a Setup, session: &mut Session) -> Result<Self> {
        args.device.check(&setup.charter)?;
        let file = setup.file_key()?;
        let profile = profile(&setup.charter, args.profile.as_ref())?;
        if profile.requester_key == RequesterKey::File {
            return Ok(Self { holder: setup.holder(&file)?, with: With::File, file });
        }
        let custodian = device::choose(
            &mut session.out,
            &setup.charter,
            args.device.serial,
            clock::now(),
            &[Role::Requester],
        )?;
        let kid = custodian.public.thumbprint();
        let holder = setup.charter.holder(&kid).context("the key is not in the charter")?;
        Ok(Self { holder, with: With::Device(Box::new(custodian)), file })
    }

    fn sign(&self, args: &Args, told: &Told<'_>, payload: &[u8], session: &mut Session) -> Result<Signature> {
        let now = told.grant.requested_at;
        let With::Device(device) = &self.with else {
            return self.file.sign(Typ::Request, payload, now);
        };
        session.out.say(told.fields(&view::grant::phrase(&Grant::id_of(payload)), now).render())?;
        let question = format!("Ask for exactly this, as {}?", device.describe());
        device::confirm(&mut session.out, &question, args.device.yes)?;
        let pin = device.pin(&args.device)?;
        session.out.say(format!("Touch YubiKey {} when it blinks …", device.key.serial()))?;
        let statement = Statement { typ: Typ::Request, payload, station: None, iat: now };
        statement::sign_with_device(&device.key, &device.public, &pin, &statement)
    }
}

/// The profile asked for, or the only one.
fn profile<'a>(charter: &'a Charter, given: Option<&ProfileId>) -> Result<&'a Profile> {
    let profiles = &charter.document().profiles;
    let names = || profiles.iter().map(|profile| profile.id.to_string()).collect::<Vec<_>>().join(", ");
    match (given, profiles.as_slice()) {
        (Some(id), _) => charter.profile(id).ok_or_else(|| {
            Problem::usage("PROFILE_UNKNOWN", format!("the charter has no profile {id}; it has {}", names()))
                .into()
        }),
        (None, [only]) => Ok(only),
        (None, _) => {
            let message = format!("say which kind of access: --profile with one of {}", names());
            Err(Problem::usage("PROFILE_NEEDED", message).into())
        }
    }
}

/// The details asked for, or the only ones that the profile can mean.
fn details(profile: &Profile, given: &[Detail]) -> Result<Vec<Detail>> {
    if !given.is_empty() {
        if !detail::allowed(given, &profile.authorization_details) {
            return Err(Problem::usage("DETAILS_NOT_ALLOWED", format!(
                "profile {} does not allow all that you ask for; breakglass charter show says what it allows", profile.id
            )).into());
        }
        return Ok(given.to_vec());
    }
    implied(profile).ok_or_else(|| {
        Problem::usage("DETAIL_NEEDED", format!(
            "say what you need: --detail '{{\"type\":…,\"actions\":[…],\"locations\":[…]}}'; breakglass charter show says what profile {} allows",
            profile.id
        )).into()
    }).map(|detail| vec![detail])
}

/// What a profile's single rule allows, where it names no pattern.
fn implied(profile: &Profile) -> Option<Detail> {
    let [rule] = profile.authorization_details.as_slice() else { return None };
    let literal = |pattern: &Pattern| Word::try_from(pattern.to_string()).ok();
    let identifier = match rule.identifiers.len() {
        0 => None,
        1 => Some(rule.identifiers.first().and_then(literal)?),
        _ => return None,
    };
    Some(Detail {
        kind: rule.kind.clone(),
        actions: rule.actions.iter().map(literal).collect::<Option<_>>()?,
        locations: rule.locations.iter().map(literal).collect::<Option<_>>()?,
        identifier,
    })
}

/// Files the request. Asked again after a lost answer, the daemon says that it has these very bytes: that is success.
fn file(daemon: &Daemon, keyring: &Keyring, signed: &SignedGrant, jws: &GeneralJws) -> Result<v1::Request> {
    let id = signed.id();
    let (answer, lost) = insist(|| daemon.file(jws.to_json()));
    match answer {
        Ok(request) => Ok(request),
        Err(error) if error.reason == "DUPLICATE_REQUEST" => Ok(daemon.get(&id)?),
        Err(error) if lost => Err(error).context(format!(
            "whether request {id} was filed is not known; its keys are kept in {}; look with breakglass show {id}",
            keyring.folder(&id).display()
        )),
        Err(error) => {
            keyring.forget(&id)?;
            Err(error).context("the daemon refused the request; nothing was filed")
        }
    }
}

/// What the requester is told.
struct Told<'a> {
    setup: &'a Setup,
    profile: &'a Profile,
    grant: &'a Grant,
    keyring: &'a Keyring,
}

impl Told<'_> {
    /// What is asked for, in words.
    fn fields(&self, words: &str, now: i64) -> Fields {
        let quorum = self.setup.charter.quorums(&self.profile.id).map(|quorums| quorums.approve.describe());
        let mut fields = Fields::default();
        fields.add("words", words);
        fields.list("may", self.grant.authorization_details.iter().map(view::grant::detail));
        fields.add("where", self.grant.aud.to_string());
        fields.add("how long", format!("{} from issuance", text::duration(self.grant.ttl.into())));
        fields.add("needs", format!("approval by {}", quorum.unwrap_or_default()));
        fields.add("deadline", text::until(self.grant.expires_at, now));
        fields
    }

    fn text(&self, id: &str, words: &str, now: i64) -> String {
        let mut fields = self.fields(words, now);
        fields.add(
            "keys",
            self.keyring
                .folder(&Grant::id_of(&self.grant.to_bytes().unwrap_or_default()))
                .display()
                .to_string(),
        );
        format!(
            "Filed request {id}\n{}\nTell the custodians the six words. They run: breakglass approve {id}\nThen you run:                               breakglass redeem {id}",
            fields.render()
        )
    }
}

/// Waits until the request is issued, and redeems it.
fn wait(setup: &Setup, daemon: &Daemon, signed: &SignedGrant, session: &mut Session) -> Result<()> {
    let id = signed.id();
    let mut last = None;
    daemon.watch(&[id], false, |request| {
        let approved = request.missing.as_ref().map_or(0, |missing| missing.approved_by.len());
        let seen = (request.state(), approved);
        if last.replace(seen) != Some(seen) {
            let names: Vec<String> = request
                .missing
                .iter()
                .flat_map(|missing| &missing.approved_by)
                .map(|name| text::safe(name))
                .collect();
            let by =
                if names.is_empty() { String::new() } else { format!("; approved by {}", names.join(", ")) };
            session.out.say(format!("  {}{by}", state_name(&request)))?;
        }
        Ok(match request.state() {
            v1::RequestState::Pending | v1::RequestState::Authorized => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        })
    })?;
    redeem::redeem(setup, daemon, id, Duration::from_secs(30), session)
}
