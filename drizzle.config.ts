import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: [
    "./src/store/schema.ts",
    "./src/store/schema-control.ts",
    "./src/store/schema-finance.ts",
    "./src/store/schema-roll-up.ts",
    "./src/store/schema-money.ts",
    "./src/store/schema-tools.ts",
  ],
  out: "./drizzle",
});
