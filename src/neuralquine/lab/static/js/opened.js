// Quines that were kept: folders of `quines/`, and zip files that were downloaded here.

import { get, post, upload } from "./api.js";
import { $, guarded, make, put } from "./page.js";
import { add } from "./search.js";

export const isFolder = (file) => /\.zip$/i.test(file?.name ?? "");

export async function openFolders() {
  const { folders } = await get("/api/folders");
  $("folders").replaceChildren(...folders.map((name) => make("option", { value: name, textContent: name })));
  $("folders-row").hidden = !folders.length;
  $("open-folder").addEventListener("click", guarded(() => opened(post("/api/folders", { name: $("folders").value }), $("folders").value)));
  $("zip-file").addEventListener("change", guarded(() => archive($("zip-file").files[0])));
  addEventListener("drop", guarded((event) => {
    const [file] = event.dataTransfer.files;
    return isFolder(file) && archive(file);
  }));
}

async function archive(file) {
  if (file) await opened(upload("/api/opened", file), file.name);
}

async function opened(asked, name) {
  $("open-status").textContent = `${name}: reading and verifying …`;
  try {
    const quine = await asked;
    add(quine);
    put(quine);
    $("open-status").textContent = `${name} is on the bench.`;
    $("facts").scrollIntoView();
  } catch (error) {
    $("open-status").textContent = "";
    throw error;
  }
}
