//! What was measured, as a table for people and as `target/bench.json` for programs.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use crate::{
    chain,
    crypto::Crypto,
    decisions::Decisions,
    flows::Flows,
    gates::Gates,
    log::{Appends, Long},
    lookup::Load,
    stats::{Samples, round},
    token::Token,
};

/// Collects figures, ratios, and rows that hold a figure against its target.
pub struct Report {
    machine: Value,
    figures: Map<String, Value>,
    ratios: Map<String, Value>,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    target: String,
    reached: String,
    /// Reached over target, or target over reached: above 1 is better than the target.
    margin: f64,
}

impl Report {
    pub fn new() -> Self {
        Self { machine: Value::Null, figures: Map::new(), ratios: Map::new(), rows: Vec::new() }
    }

    pub fn machine(&mut self, facts: Value) {
        self.machine = facts;
    }

    pub fn figure(&mut self, name: &str, value: Value) {
        self.figures.insert(name.to_owned(), value);
    }

    fn ratio(&mut self, name: &str, value: f64) {
        self.ratios.insert(name.to_owned(), json!(round(value)));
    }

    fn at_most(&mut self, what: &str, target: f64, reached: f64, unit: &str) {
        self.row(what, ("≤", target), reached, unit, target / reached);
    }

    fn at_least(&mut self, what: &str, target: f64, reached: f64, unit: &str) {
        self.row(what, ("≥", target), reached, unit, reached / target);
    }

    fn row(&mut self, what: &str, (sign, target): (&str, f64), reached: f64, unit: &str, margin: f64) {
        let target = format!("{sign} {target}{unit}");
        let reached = format!("{}{unit}", significant(reached));
        self.rows.push(Row { what: what.to_owned(), target, reached, margin });
    }

    pub fn flows(&mut self, flows: &Flows, token: &Token, crypto: &Crypto, fsync: &Samples) {
        // Of the design: the request, two approvals, C_Sign, and the check of what it made. A flow that ends with a token
        // in somebody's hands has a signed redemption, too; and the log key signs a checkpoint, the JWT is encrypted.
        let design = 4.0 * crypto.verify + token.es256_cpu;
        let with_redemption = design + crypto.verify;
        let all = with_redemption + token.eddsa_cpu + crypto.encrypt;
        let per_raw = flows.per_second / token.best();
        self.ratio("flows_over_raw_sign", per_raw);
        self.ratio("cpu_over_crypto", flows.server_cpu / with_redemption);
        self.ratio("cpu_over_crypto_without_redemption", flows.server_cpu / design);
        self.ratio("cpu_over_all_crypto", flows.server_cpu / all);
        self.ratio("latency_one_p50_over_fsync", flows.one.p50() / fsync.p50());
        self.figure("latency_one_ms", flows.one.to_json());
        self.figure("latency_eight_ms", flows.all.to_json());
        self.figure(
            "flows",
            json!({
                "count": flows.count,
                "per_second": round(flows.per_second),
                "server_cpu_us": flows.server_cpu.round(),
                "client_cpu_us": flows.client_cpu.round(),
                "unavoidable_crypto_us": {
                    "design: 3 verifications, C_Sign, self-check": design.round(),
                    "and the redemption's verification": with_redemption.round(),
                    "and a checkpoint's signature, and the JWE": all.round(),
                },
                "jwe_bytes": flows.jwe_bytes,
            }),
        );
        self.figure(
            "memory_mib",
            json!({"idle_rss": round(flows.idle_rss), "idle_pss": round(flows.idle_pss),
                "after_run_rss": round(flows.busy_rss)}),
        );
        self.at_most("last approval to JWT, one client, p50", 2.5, flows.one.p50(), " ms");
        self.at_most("last approval to JWT, one client, p99", 10.0, flows.one.p99(), " ms");
        self.at_most("last approval to JWT, eight clients, p99", 25.0, flows.all.p99(), " ms");
        self.at_most(
            "server CPU of a flow over its cryptography",
            1.5,
            flows.server_cpu / with_redemption,
            "",
        );
        self.at_least("whole flows over raw C_Sign, per second", 0.15, per_raw, "");
        self.at_most("idle memory (PSS)", 15.0, flows.idle_pss, " MiB");
    }

    pub fn decisions(&mut self, decisions: Decisions, openbao: Load) {
        self.figure("gate_decisions_per_core_second", decisions.to_json());
        self.figure("openbao_lookup_self", openbao.to_json());
        self.at_least("gate decisions per core, warm, bound by mTLS", 20_000.0, decisions.warm, " /s");
        self.at_least("gate decisions per core, with a DPoP proof", 5_000.0, decisions.dpop, " /s");
        self.at_least("gate decisions per core, cold", 2_000.0, decisions.cold, " /s");
        // A decision without the HTTP around it against a lookup with it: what each adds to a request.
        let ratio = decisions.warm / openbao.per_core;
        self.ratio("gate_decision_over_openbao_lookup", ratio);
        self.at_least("warm gate decisions over OpenBao token lookups, per core", 10.0, ratio, "");
    }

    pub fn gates(&mut self, gates: &Gates) {
        let count = gates.count;
        self.figure(&format!("gates_{count}"), gates.to_json());
        let target = if count > 1_000 { 1_000.0 } else { 250.0 };
        self.at_most(&format!("kill to refused at {count} gates, p99"), target, gates.refused.p99(), " ms");
    }

    pub fn chain(&mut self, took: std::time::Duration) {
        let seconds = took.as_secs_f64();
        self.figure("charter_chain_s", json!(round(seconds)));
        self.at_most(&format!("following {} versions of a charter", chain::VERSIONS), 1.0, seconds, " s");
    }

    pub fn appends(&mut self, appends: &Appends) {
        for (batch, rate) in appends {
            self.figure(&format!("append_per_second_batch_{batch}"), json!(rate.round()));
        }
        let best = appends.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        self.at_least("durable appends, batched", 10_000.0, best, " /s");
    }

    pub fn long(&mut self, long: &Long) {
        let (start, verify) = (long.start.as_secs_f64(), long.verify.as_secs_f64());
        let rate = long.entries as f64 / verify;
        let per_million = 1e6 / rate;
        self.figure(
            "long_log",
            json!({
                "entries": long.entries, "mean_entry_bytes": long.bytes / long.entries,
                "start_s": round(start), "rss_after_start_mib": round(long.rss),
                "audit_verify_s": round(verify), "audit_entries_per_second": rate.round(),
                "audit_s_per_million": round(per_million),
                "audit_cpu_s": round(long.verify_cpu.as_secs_f64()), "audit_rss_mib": round(long.verify_rss),
            }),
        );
        self.at_most(&format!("start with {} entries to serving", long.entries), 0.5, start, " s");
        self.at_most("audit of 1,000,000 entries, at the rate of this log", 45.0, per_million, " s");
    }

    /// The table.
    pub fn print(&self) {
        println!();
        println!("{:<52} {:>14} {:>14} {:>8}", "what", "target", "reached", "margin");
        for row in &self.rows {
            let missed = if row.margin < 1.0 { "  missed" } else { "" };
            println!("{:<52} {:>14} {:>14} {:>7.2}×{missed}", row.what, row.target, row.reached, row.margin);
        }
        println!("\nA margin above 1 is better than the target. Beside it:");
        for (name, value) in self.figures.iter().chain(&self.ratios) {
            println!("  {name}: {value}");
        }
        println!("  machine: {}", self.machine);
    }

    /// `target/bench.json`.
    pub fn write(&self) {
        let missed: Vec<_> = self.rows.iter().filter(|row| row.margin < 1.0).map(|row| &row.what).collect();
        let document = json!({
            "ratios": self.ratios, "figures": self.figures, "machine": self.machine, "missed": missed,
        });
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench.json");
        fs::write(&path, format!("{document:#}\n")).unwrap();
        println!("\nWritten to target/bench.json.");
    }
}

/// Three digits that mean something.
fn significant(value: f64) -> String {
    match value {
        value if value >= 1000.0 => format!("{value:.0}"),
        value if value >= 100.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}
