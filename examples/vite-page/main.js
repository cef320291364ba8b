import { createClient, text } from "fairlead";

const fl = createClient(import.meta.env.VITE_FAIRLEAD_URL ?? "http://localhost:34904");
const list = fl.log("shopping-list", { codec: text() });

const input = document.querySelector("input");
document.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await list.append(input.value); // durable once this resolves
    input.value = "";
    showError("");
  } catch (error) {
    showError(error.message);
  }
});

// All entries, then those that this tab and others add. Reconnects by itself.
for await (const { value, timestamp } of list.read()) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = timestamp.toLocaleTimeString();
  item.append(value, time);
  document.querySelector("ol").append(item);
}

function showError(problem) {
  document.querySelector("[role=alert]").textContent = problem;
}
