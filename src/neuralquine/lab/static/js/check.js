// A dropped self.onnx is run in this page by ONNX Runtime Web, without any request but for its own files.

import { $, guarded } from "./page.js";

export function openCheck() {
  $("onnx-file").addEventListener("change", guarded(() => check($("onnx-file").files[0])));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
  addEventListener("dragleave", () => $("drop").classList.remove("over"));
  addEventListener("drop", guarded((event) => {
    $("drop").classList.remove("over");
    return check(event.dataTransfer.files[0]);
  }));
}

async function check(file) {
  $("check-status").textContent = file ? `${file.name}: not available yet` : "";
}
