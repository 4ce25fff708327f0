// The page: every room opens once the server has said what it can do.

import { get } from "./api.js";
import { openCheck } from "./check.js";
import { openDigits } from "./digits.js";
import { openFolders } from "./opened.js";
import { guarded } from "./page.js";
import { openQuine } from "./quine.js";
import { openSearch } from "./search.js";
import { openStarts } from "./starts.js";
import { openWounds } from "./wounds.js";
import { openZoo } from "./zoo.js";

guarded(async () => {
  openCheck();
  const hello = await get("/api/hello");
  openQuine(hello);
  openWounds(hello);
  openZoo(hello);
  openDigits();
  openStarts(hello);
  await openFolders();
  await openSearch(hello);
})();
