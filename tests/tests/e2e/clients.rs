//! The example clients of `examples/clients`: each has a token, a streamed reply, a connection that breaks, a host that is busy,
//! a problem, and a certificate of an authority that the machine does not know. The types of those that have types are checked.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use masque_tests::deploy::in_repository;
use masque_tests::{
    Answer, Authority, Gate, Host, Link, LinkState, MockModel, Setup, Step, eventually, node, python, within,
};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdout, Command};

const FOLDER: &str = "examples/clients";

/// A client that runs.
struct Running {
    process: Child,
    output: ChildStdout,
    /// What it has printed so far.
    text: String,
}

impl Running {
    /// Runs a client, a command without its arguments, against a host on this port.
    fn start(client: &[PathBuf], port: u16, key: &str, message: &str) -> Self {
        Self::start_at(client, &format!("http://127.0.0.1:{port}"), key, message, None)
    }

    /// Runs a client against a host at this URL, with the file of an authority in a variable.
    fn start_at(
        client: &[PathBuf],
        url: &str,
        key: &str,
        message: &str,
        authority: Option<(&str, &Path)>,
    ) -> Self {
        let (program, words) = client.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(words).args(["ana", message]).kill_on_drop(true);
        command.env("MASQUE_URL", url).env("MASQUE_KEY", key);
        for name in ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
            command.env_remove(name);
        }
        command.envs(authority);
        // A proxy of this machine is not for the loopback address.
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let output = process.stdout.take().unwrap();
        Self { process, output, text: String::new() }
    }

    /// Waits until it has printed this.
    async fn printed(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.text.contains(text) {
            let length = within("the client to print", self.output.read(&mut buffer)).await.unwrap();
            let errors =
                if length == 0 { all_of(self.process.stderr.take().unwrap()).await } else { String::new() };
            assert!(length > 0, "it ended with {:?}: {errors}", self.text);
            self.text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
    }

    /// Waits for its end. Returns the status, and what it has printed to standard output and to standard error.
    async fn end(mut self) -> (ExitStatus, String, String) {
        let errors = self.process.stderr.take().unwrap();
        let (rest, errors) =
            within("the client to end", async { futures::join!(all_of(self.output), all_of(errors)) }).await;
        let status = self.process.wait().await.unwrap();
        (status, self.text + &rest, errors)
    }
}

async fn all_of(mut output: impl AsyncRead + Unpin) -> String {
    let mut text = String::new();
    output.read_to_string(&mut text).await.unwrap();
    text
}

/// The open connections of the public listener.
async fn connections(host: &Host) -> f64 {
    let metrics = host.socket().get("/metrics").send().await.text;
    let value =
        metrics.lines().find_map(|line| line.strip_prefix("masque_connections{listener=\"public\"} "));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// Tries everything that an example client does.
async fn try_out(client: &[PathBuf]) {
    let model = MockModel::start().await;
    let setup = Setup::model(&model).with_authentication();
    let key = setup.create_key(&["--scope", "tokens:mint", "--scope", "chat"]).await;
    let host = setup.start().await;
    let link = Link::to(host.address().rsplit(':').next().unwrap().parse().unwrap()).await;

    // The connection breaks after the first words.
    let gate = Gate::new();
    model.next(Answer::held("First \"half\",\n", &gate, " second \\ half."));
    let mut running = Running::start(client, link.port(), &key, "Say \"it\"\nin two lines.");
    running.printed("First \"half\"").await;
    link.set(LinkState::Cut);
    eventually("the host to lose the client", || async { (connections(&host).await == 0.0).then_some(()) })
        .await;
    link.set(LinkState::Open);
    gate.open();
    let (status, text, errors) = running.end().await;
    assert!(status.success(), "{errors}");
    assert_eq!(text, "First \"half\",\n second \\ half.\n");
    let asked = model.seen();
    assert_eq!(asked.len(), 1, "the turn ran once");
    assert!(asked[0].body.to_string().contains(r#"Say \"it\"\nin two lines."#), "{}", asked[0].body);

    // The model is busy for a second, so the host answers 503 with Retry-After.
    model.next(Answer::error(429, "rate_limit_exceeded", "Slow down.").header("retry-after", "1"));
    model.next(Answer::pieces(&["Now ", "I can."]));
    let (status, text, errors) = Running::start(client, link.port(), &key, "And now?").end().await;
    assert!(status.success(), "{errors}");
    assert_eq!(text, "Now I can.\n");
    host.logged("status=503").await;

    // A turn that fails midway ends with its problem.
    model.next(Answer::steps(vec![Step::Text("Half a".to_owned()), Step::Cut]));
    let (status, text, errors) = Running::start(client, link.port(), &key, "And then?").end().await;
    assert_eq!(status.code(), Some(1));
    assert!(text.starts_with("Half a"), "{text}");
    assert!(errors.contains("model-truncated") || errors.contains("model-unavailable"), "{errors}");

    // A refusal is named with its type and the id of the request.
    let (status, text, errors) = Running::start(client, link.port(), &key, " ").end().await;
    assert_eq!((status.code(), text.as_str()), (Some(1), ""));
    assert!(errors.starts_with("Empty message: "), "{errors}");
    assert!(errors.contains("(message-empty, request "), "{errors}");

    let (status, _, errors) =
        Running::start(client, link.port(), "msq_0000000000000000_wrong", "Hi.").end().await;
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("(invalid-token, request "), "{errors}");
}

/// Tries a host whose certificate is of an authority that the machine does not know. `variable` names the file of it.
async fn try_own_authority(client: &[PathBuf], variable: &str) {
    let authority = Authority::new();
    let setup = Setup::defaults().with_authentication().encrypted(&authority, &authority.issue());
    let key = setup.create_key(&["--scope", "tokens:mint", "--scope", "chat"]).await;
    let host = setup.start().await;
    let url = format!("https://{}", host.address());
    let file = host.folder().join("authority.pem");
    std::fs::write(&file, authority.pem()).unwrap();

    let known = Running::start_at(client, &url, &key, "Hello.", Some((variable, file.as_path())));
    let (status, text, errors) = known.end().await;
    assert!(status.success() && !text.is_empty(), "{errors}");

    let (status, text, errors) = Running::start_at(client, &url, &key, "Hello.", None).end().await;
    assert_eq!((status.code(), text.as_str()), (Some(1), ""));
    assert!(errors.contains("certificate") && errors.contains(variable), "{errors}");
}

#[tokio::test]
async fn the_client_in_curl_streams_resumes_waits_and_names_problems() {
    let client = [PathBuf::from("sh"), in_repository(FOLDER).join("chat.sh")];
    try_out(&client).await;
    try_own_authority(&client, "CURL_CA_BUNDLE").await;
}

#[tokio::test]
async fn the_client_in_python_streams_resumes_waits_and_names_problems() {
    let client = [PathBuf::from("python3"), in_repository(FOLDER).join("chat.py")];
    try_out(&client).await;
    try_own_authority(&client, "SSL_CERT_FILE").await;
}

#[tokio::test]
async fn the_client_in_typescript_is_typed_streams_resumes_waits_and_names_problems() {
    let folder = node::packages("example-client", FOLDER).await;
    for file in ["chat.ts", "tsconfig.json"] {
        std::fs::copy(in_repository(FOLDER).join(file), folder.join(file)).unwrap();
    }
    check_types(Command::new("node").arg("node_modules/typescript/bin/tsc"), &folder).await;
    let client = [PathBuf::from("node"), folder.join("dist/chat.js")];
    try_out(&client).await;
    try_own_authority(&client, "NODE_EXTRA_CA_CERTS").await;
}

#[tokio::test]
async fn the_client_in_python_is_typed() {
    let environment = python::locked_environment("mypy", "tests/requirements/clients.txt").await;
    let mut mypy = Command::new(environment.join("bin/mypy"));
    mypy.args(["--strict", "--cache-dir", "/dev/null", "chat.py"]);
    check_types(&mut mypy, &in_repository(FOLDER)).await;
}

async fn check_types(command: &mut Command, folder: &Path) {
    let output = command.current_dir(folder).stdin(Stdio::null()).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
