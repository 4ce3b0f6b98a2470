// Sends one message to a Masque host and prints the reply while it is written. Node 22.18 or newer runs this file as it is:
//
//     MASQUE_KEY=msq_... node chat.ts ana "Hello!"
//
// MASQUE_URL is the address of the host, http://127.0.0.1:8000 by default. MASQUE_KEY is an API key with the scopes
// `tokens:mint` and `chat`; with it, the program gets a token for the user. A service does that for its users: a key never goes
// to a browser. Without MASQUE_KEY, the host has to have authentication off. The class `Client` needs only `fetch`.
// NODE_EXTRA_CA_CERTS names the file of an authority of your own.

/** How often a request is sent, and a stream is resumed, before the client gives up. */
const ATTEMPTS = 6;
/** The longest wait that the client accepts, in seconds. A spent budget of tokens lasts until the next day, for example. */
const LONGEST_WAIT = 30;
/** Comment lines arrive every 15 seconds while a model thinks, so a longer silence (in milliseconds) is a broken connection. */
const SILENCE = 45_000;

/** An error of the host, as in RFC 9457. */
export interface ProblemDetails {
  type: string;
  title: string;
  status: number;
  detail: string;
  request_id: string;
  retry_after?: number | null;
}

type Content = string | { type: string; text?: string }[];

interface TurnOutcome {
  status: "running" | "completed" | "interrupted" | "failed";
  reply?: { content: Content } | null;
  problem?: ProblemDetails | null;
}

/** The events of a turn that this client knows. It ignores others. */
export type TurnEvent =
  | { type: "turn.created"; turn_id: string; conversation_id: string; companion: string }
  | { type: "reply.delta"; text: string }
  | { type: "turn.completed"; reply: { content: Content } }
  | { type: "turn.failed"; problem: ProblemDetails };

/** The host refused a request, or a turn failed. */
export class Problem extends Error {
  readonly details: Partial<ProblemDetails>;

  constructor(details: Partial<ProblemDetails>) {
    super(`${details.title}: ${details.detail}`);
    this.details = details;
  }

  /** The stable name, such as `conversation-busy`. Texts may change. */
  get type(): string {
    return this.details.type?.split("#").pop() ?? "";
  }
}

/** Sends requests to a host, with a token or an API key if there is one. */
export class Client {
  readonly #url: string;
  readonly #credential: string | undefined;

  constructor(url: string, credential?: string) {
    this.#url = url.replace(/\/$/, "");
    this.#credential = credential;
  }

  /** Exchanges the API key of this client for a token of a user. */
  async mintToken(user: string): Promise<string> {
    const response = await this.#send("POST", "/auth/token", { user_id: user });
    const { access_token } = (await response.json()) as { access_token: string };
    return access_token;
  }

  /** Runs one turn and returns its events. If the connection breaks, the turn goes on where it was. */
  async *chat(message: string, conversation?: string): AsyncGenerator<TurnEvent> {
    const body = { message, stream: true, conversation_id: conversation };
    // With the same key, the host runs the turn once, however often the request arrives.
    const headers = { "Idempotency-Key": crypto.randomUUID(), Accept: "text/event-stream" };
    let turn: string | undefined;
    let last = "";
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      await pause(attempt);
      let response: Response;
      try {
        response = turn
          ? await this.#send("GET", `/turns/${turn}/events`, undefined, { "Last-Event-ID": last })
          : await this.#send("POST", "/chat", body, headers);
      } catch (error) {
        if (turn === undefined || !(error instanceof Problem) || error.type !== "events-gone") throw error;
        // Events are kept for a minute after the end of a turn, and can't be resumed if the turn was begun a second time.
        yield await this.#outcome(turn);
        return;
      }
      for await (const { id, data } of readEvents(response)) {
        last = id;
        const event = JSON.parse(data) as TurnEvent;
        if (event.type === "turn.created") turn = event.turn_id;
        yield event;
        if (event.type === "turn.failed") throw new Problem(event.problem);
        if (event.type === "turn.completed") return;
      }
    }
    throw new Error("the connection broke too often");
  }

  /** Waits until a turn has ended, and returns what a stream would have ended with. */
  async #outcome(turn: string): Promise<TurnEvent> {
    for (let attempt = 0; ; attempt++) {
      await pause(attempt);
      const response = await this.#send("GET", `/turns/${turn}`);
      const { status, reply, problem } = (await response.json()) as TurnOutcome;
      if (status === "completed" && reply) return { type: "turn.completed", reply };
      if (status !== "running" || attempt > 20 * ATTEMPTS) {
        throw new Problem(problem ?? { title: "The turn did not complete", detail: status });
      }
    }
  }

  /** Sends a request, again after a while if the host is busy or can't be reached. Throws a `Problem` for an error. */
  async #send(method: string, path: string, body?: object, more: Record<string, string> = {}): Promise<Response> {
    const headers: Record<string, string> = { ...more };
    if (this.#credential) headers["Authorization"] = `Bearer ${this.#credential}`;
    if (body) headers["Content-Type"] = "application/json";
    const content = body ? JSON.stringify(body) : null;
    for (let attempt = 1; ; attempt++) {
      let response: Response;
      try {
        response = await fetch(this.#url + path, { method, headers, body: content });
      } catch (error) {
        // What the certificate is refused for does not change with another attempt.
        if (attempt === ATTEMPTS || isUntrusted(error)) throw error;
        await pause(attempt);
        continue;
      }
      if (response.ok) return response;
      const problem = await problemOf(response);
      const wait = problem.details.retry_after ?? Infinity;
      if (![429, 503].includes(response.status) || wait > LONGEST_WAIT || attempt === ATTEMPTS) throw problem;
      await sleep(wait * 1000);
    }
  }
}

/** Reads server-sent events, as the HTML standard defines them. Ends where the connection ends, whether or not the turn did. */
async function* readEvents(response: Response): AsyncGenerator<{ id: string; data: string }> {
  const reader = response.body?.getReader();
  if (!reader) return;
  const decoder = new TextDecoder();
  let buffer = "";
  let id = "";
  let data: string[] = [];
  try {
    for (;;) {
      const chunk = await withinSilence(reader.read());
      if (chunk === undefined || chunk.done) return;
      buffer += decoder.decode(chunk.value, { stream: true });
      const lines = buffer.split("\n");
      buffer = lines.pop() ?? "";
      for (const line of lines.map((line) => line.replace(/\r$/, ""))) {
        const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
        if (field === "id") id = value ?? "";
        else if (field === "data") data.push(value ?? ""); // Long data has several lines.
        else if (line === "" && data.length > 0) {
          yield { id, data: data.join("\n") };
          data = [];
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined); // A broken connection can't be cancelled.
  }
}

/** The result, or `undefined` if the connection breaks or is silent for too long. */
async function withinSilence<T>(result: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), SILENCE)));
  try {
    return await Promise.race([result.catch(() => undefined), silence]);
  } finally {
    clearTimeout(timer);
  }
}

async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text();
  try {
    return new Problem(JSON.parse(text) as ProblemDetails);
  } catch {
    // A proxy, for example, answers with a page.
    const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
    const retry_after = Number.isNaN(wait) ? null : wait;
    return new Problem({ status: response.status, title: response.statusText, detail: text.slice(0, 200), retry_after });
  }
}

/** Why a connection failed. `fetch` itself says only that it did. */
function reasonOf(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof Error ? error.cause : error;
}

/** Whether a request failed because no known authority has signed the certificate of the host. */
function isUntrusted(error: unknown): boolean {
  const reason = reasonOf(error);
  const code = reason instanceof Error && "code" in reason ? String(reason.code) : "";
  return /^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_(GET_ISSUER_CERT_LOCALLY|VERIFY_LEAF_SIGNATURE))$/.test(code);
}

/** Waits before this attempt, from 0: not before the first, then longer and longer. */
async function pause(attempt: number): Promise<void> {
  if (attempt > 0) await sleep(Math.min(8000, 100 * 2 ** attempt));
}

async function sleep(milliseconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** The text of a reply, which is a list of parts if it does not fit into one line of a stream. */
function textOf(content: Content): string {
  return typeof content === "string" ? content : content.map((part) => part.text ?? "").join("");
}

async function main(words: string[]): Promise<number> {
  const [user, message] = words;
  if (user === undefined || message === undefined || words.length !== 2) {
    console.error("usage: chat.ts USER MESSAGE");
    return 2;
  }
  const url = process.env["MASQUE_URL"] || "http://127.0.0.1:8000";
  const key = process.env["MASQUE_KEY"];
  let written = "";
  const write = (text: string): void => {
    written += text;
    process.stdout.write(text);
  };
  try {
    const client = new Client(url, key ? await new Client(url, key).mintToken(user) : undefined);
    for await (const event of client.chat(message)) {
      if (event.type === "reply.delta") write(event.text);
      // The whole reply; what of it was not streamed is missing.
      else if (event.type === "turn.completed") write(textOf(event.reply.content).slice(written.length));
    }
    write("\n");
    return 0;
  } catch (error) {
    if (error instanceof Problem) {
      console.error(`${error.message} (${error.type}, request ${error.details.request_id})`);
    } else {
      console.error(`can't reach ${url}: ${reasonOf(error)}`);
      if (isUntrusted(error)) console.error("name the file of the certificate's authority in NODE_EXTRA_CA_CERTS");
    }
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
