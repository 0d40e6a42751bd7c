//! Which keys log in: only those that live in hardware and have verified their user, where the fleet
//! asks for that, and only those that a host's own configuration takes.

use muster_tests::{Fleet, HardwareKey, KeyPair, Output, wait};

use crate::{SOON, fleet, is_refused, kept::Kept};

const CONFIG: &str = "/etc/muster/agent.toml";
const KEEPER: &str = "muster-agent.service";

/// Declares one user on one host, with these keys, these lines of hers and these of her role.
fn declaration(host: &str, login: &str, keys: &[&KeyPair], user: &str, role: &str) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{}\"", key.public)).collect();
    format!(
        "users:\n  {login}: {{keys: [{}]{user}}}\nroles:\n  {login}: {{{role}}}\nassignments:\n  \
         {login}: {{user: {login}, role: {login}, hosts: muster/hostname={host}}}\n",
        keys.join(", ")
    )
}

/// Logs in with a key of a token by one of its two files.
fn touch(fleet: &Fleet, host: &str, login: &str, token: &HardwareKey, key: &KeyPair) -> Output {
    let ssh = fleet.lab().ssh(host, login, &key.private).option(&token.option());
    ssh.command("id --user --name").run().unwrap()
}

#[test]
fn only_a_hardware_key_that_has_verified_its_user_logs_in_where_the_fleet_asks_for_it() {
    let fleet = fleet();
    let token = fleet.lab().hardware_key("hedda-token").unwrap();
    let soft = fleet.lab().keygen("hedda", "ed25519").unwrap();
    assert_eq!(token.touched.public.split(' ').nth(1), token.verified.public.split(' ').nth(1));
    let keys = [&soft, &token.touched];
    let by_file = || fleet.lab().ssh("web1", "hedda", &soft.private).command("true").run().unwrap();
    let by_token = |key: &KeyPair| touch(&fleet, "web1", "hedda", &token, key);

    // As it is without a word on it: either key does.
    fleet.apply_ok(&declaration("web1", "hedda", &keys, "", "")).unwrap();
    assert!(by_file().success());
    assert_eq!(by_token(&token.touched).stdout, "hedda\n");

    let role = "ssh: {methods: [hardware-key]}";
    fleet.apply_ok(&declaration("web1", "hedda", &keys, "", role)).unwrap();
    assert!(is_refused(&by_file()), "a key in a file");
    assert_eq!(by_token(&token.touched).stdout, "hedda\n");

    let user = ", verify_required: true";
    fleet.apply_ok(&declaration("web1", "hedda", &keys, user, role)).unwrap();
    assert!(is_refused(&by_file()), "a key in a file");
    let unverified = by_token(&token.touched);
    assert!(is_refused(&unverified), "a token that anybody may have touched: {unverified}");
    let verified = by_token(&token.verified);
    assert_eq!(verified.stdout, "hedda\n", "{verified}");
}

#[test]
fn a_host_takes_no_key_but_of_the_types_and_sizes_that_its_own_configuration_names() {
    let fleet = fleet();
    let (dev1, lab) = (fleet.host("dev1"), fleet.lab());
    let [short, soft] = [("hasso", "rsa"), ("hasso-soft", "ed25519")]
        .map(|(name, kind)| lab.keygen(name, kind).unwrap());
    let token = lab.hardware_key("hasso-token").unwrap();
    let keys = [&short, &soft, &token.touched];
    fleet.apply_ok(&declaration("dev1", "hasso", &keys, "", "")).unwrap();
    // Which of the three log in.
    let let_in = || {
        let by_file = |key: &KeyPair| lab.ssh("dev1", "hasso", &key.private).command("id").run();
        [
            by_file(&short).unwrap().success(),
            by_file(&soft).unwrap().success(),
            touch(&fleet, "dev1", "hasso", &token, &token.touched).success(),
        ]
    };
    assert_eq!(let_in(), [true, true, true]);

    let config = Kept::of(dev1, CONFIG);
    let reload = |more: &str| {
        config.replace(&format!("{more}{}", config.text()));
        dev1.run_ok(&["systemctl", "reload", KEEPER]).unwrap();
    };
    let wait_for = |what: &str, expected: [bool; 3]| {
        wait::until(SOON, what, || (let_in() == expected).then_some(())).unwrap();
    };
    reload("required_rsa_size = 4096\n");
    wait_for("the short key to be left out", [false, true, true]);
    let shown = |key: &KeyPair| {
        let listed = lab.run(&["ssh-keygen", "-lf", &format!("{}.pub", key.private.display())]);
        listed.unwrap().stdout.split(' ').nth(1).unwrap().to_owned()
    };
    let told = |key: &KeyPair, why: &str| {
        let found = format!("key-refused hasso: {} is left out: {why}", shown(key));
        let status = dev1.run_ok(&["muster-agent", "status"]).unwrap();
        assert!(status.contains(&found), "{status}");
        wait::until(SOON, "a report of it", || {
            let shown = fleet.ask(&["host", "show", "dev1"]).unwrap().to_string();
            shown.contains(&found).then_some(())
        })
        .unwrap();
    };
    told(&short, "it has 3072 bits, and this host takes RSA keys from 4096 bits on");

    reload("accepted_key_types = [\"sk-ssh-ed25519@openssh.com\"]\n");
    wait_for("the token's key alone to be taken", [false, false, true]);
    told(&soft, "this host takes no key of type `ssh-ed25519`");
    // Whoever asks for a key there is told that it is not.
    let more = declaration("dev1", "hasso", &keys, ", home_mode: '0750'", "");
    let partly = fleet.apply(&more).unwrap();
    assert_eq!(partly.status, 4, "{partly}");
    assert!(partly.stdout.contains("partly"), "{partly}");

    reload("");
    wait_for("every key to be taken again", [true, true, true]);
}
