// The server: facts, and answers of /v1/chat/completions as a stream of server-sent events.

async function checked(response) {
  if (response.status === 401) {
    location.assign("/login");
    throw new Error("Sign in again.");
  }
  if (response.ok) return response;
  let text = `The server answered with status ${response.status}.`;
  try {
    text = (await response.json()).error.message;
  } catch { /* not JSON: the status is all there is */ }
  throw new Error(text);
}

async function call(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  return checked(response);
}

export const about = async () => (await call("/about")).json();
export const blobOf = async (address) => (await call(address)).blob();

/** The data of each event of a stream, parsed; ends at [DONE]. */
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("The answer broke off. Is the server still running?");
    const whole = (rest + value).split("\n\n");
    rest = whole.pop();
    for (const event of whole) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

/**
 * Ask for an answer.
 * @param body of the request, without `stream`.
 * @param signal ends the answer when it is aborted.
 * @param onText is called with the whole text so far.
 * @returns {text, media, missing, reason, tokens}
 */
export async function complete(body, signal, onText) {
  const response = await call("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  const answer = { text: "", media: [], missing: [], reason: null, tokens: 0 };
  for await (const event of events(response.body)) {
    if (event.error) throw new Error(event.error.message);
    if (event.usage) answer.tokens = event.usage.completion_tokens;
    for (const { delta, finish_reason: reason } of event.choices) {
      answer.reason = reason || answer.reason;
      answer.media = delta.media || answer.media;
      answer.missing = delta.missing || answer.missing;
      if (delta.content) onText(answer.text += delta.content);
    }
  }
  return answer;
}
