// Copies the chart library's two files to the directory that is served and packed into the wheel.
import { copyFileSync, mkdirSync } from "node:fs";

const from = "node_modules/uplot/dist";
const to = "app/web/vendor";

mkdirSync(to, { recursive: true });
for (const file of ["uPlot.iife.min.js", "uPlot.min.css"]) {
  copyFileSync(`${from}/${file}`, `${to}/${file}`);
}
