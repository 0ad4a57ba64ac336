// Keeps the status line true for as long as the page is open.
const state = document.getElementById("state");
const words = document.getElementById("words");

for (const element of document.querySelectorAll(".origin")) element.textContent = location.origin;

async function look() {
  try {
    const answer = await fetch("/openapi.json", { cache: "no-cache" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const { info } = await answer.json();
    show(true, `The server is running, version ${info.version}.`);
  } catch {
    show(false, "The server does not answer.");
  }
}

function show(up, text) {
  state.className = up ? "state up" : "state down";
  words.textContent = text;
}

await look();
setInterval(() => document.hidden || look(), 5000);
