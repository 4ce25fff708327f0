// Talking to the server: every request carries the token in a header, which no other origin can send.

const KEY = "neuralquine-lab-token";
const given = new URL(location.href);
if (given.searchParams.has("token")) {
  // Kept for this tab and this port; taken out of the address, so that it is neither copied nor bookmarked.
  sessionStorage.setItem(KEY, given.searchParams.get("token"));
  given.searchParams.delete("token");
  history.replaceState(null, "", given);
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, {
      ...options,
      headers: { "x-lab-token": sessionStorage.getItem(KEY) ?? "", ...options.headers },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the lab does not answer: is `neuralquine lab` still running?");
  }
  if (!response.ok) {
    const { error } = await response.json().catch(() => ({}));
    throw Object.assign(new Error(error ?? `the lab answered ${response.status}`), { status: response.status });
  }
  return response;
}

export const get = async (path) => (await ask(path)).json();

export const post = async (path, body = {}) =>
  (await ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })).json();

export const upload = async (path, file, type = "application/zip") =>
  (await ask(path, { method: "POST", headers: { "content-type": type }, body: file })).json();

export async function download(path, name) {
  const address = URL.createObjectURL(await (await ask(path)).blob());
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// The events of a job, from its first on, those to come too. EventSource can send no header, so the stream is read here;
// a broken one is taken up where it broke.
export async function* events(job) {
  let last = -1;
  for (let failures = 0; failures < 5; ) {
    try {
      const response = await ask(`/api/jobs/${job}`, last < 0 ? {} : { headers: { "last-event-id": String(last) } });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ""; ; ) {
        const { value, done } = await reader.read();
        if (done) break;
        failures = 0;
        text += value;
        const blocks = text.split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const data = /^data: (.*)$/m.exec(block);
          if (!data) continue;
          last = Number(/^id: (\d+)$/m.exec(block)[1]);
          const event = JSON.parse(data[1]);
          yield event;
          if (["done", "failed", "cancelled"].includes(event.kind)) return;
        }
      }
    } catch (error) {
      if (error.status) throw error;
    }
    failures += 1;
    await new Promise((resume) => setTimeout(resume, 500 * failures));
  }
  throw new Error("the lab does not answer: is `neuralquine lab` still running?");
}
