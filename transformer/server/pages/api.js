/** The server's API: the token, errors, a full queue, and streams. */

const TOKEN = "transformer-token";
const RETRIES = 20;  // of a full queue

/** An answer that is an error, in the server's own words. */
class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const sleep = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

/** Sends a request with the token; the answer, if it is a good one. */
async function request(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  for (let tries = 0; ; tries++) {
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused(0, "the server does not answer; is it still running?");
    }
    if (answer.ok) return answer;
    const { error } = await answer.json().catch(() => ({ error: answer.statusText }));
    if (answer.status !== 429 || tries >= RETRIES) throw new Refused(answer.status, error);
    await sleep(Number(answer.headers.get("Retry-After")) || 1);
    options.signal?.throwIfAborted();
  }
}

/** Posts a body as JSON. */
const post = (path, body, signal) => request(path, {
  method: "POST", signal, headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

/** The results of a body. */
const results = async (path, body, signal) => (await (await post(path, body, signal)).json()).results;

/** Calls `show` with the text so far at every token of a stream; returns the whole. */
async function streamed(path, body, signal, show) {
  const answer = await post(path, { ...body, stream: true }, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "", rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Refused(0, "the server ended the stream");
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [, kind, json] = event.match(/^event: (\w+)\ndata: (.*)$/);
      const data = JSON.parse(json);
      if (kind === "error") throw new Refused(500, data.error);
      if (kind === "end") return data.text;
      show(text += data.text);
    }
  }
}
