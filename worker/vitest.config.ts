import { defineConfig } from "vitest/config";

// A test of many kills takes seconds, and on a busy machine many more. Most tests wait for sockets.
export default defineConfig({
  test: { testTimeout: 60_000, hookTimeout: 60_000, maxWorkers: 4 },
});
