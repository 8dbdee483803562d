// A program that writes points by LangChain's store for JavaScript, as n8n and Flowise do.
//
// Node.js reads it from standard input, in the folder worker/, which has the packages. Its argument is JSON: {"url", "api_key", "collection", "documents": [{"id", "pageContent",
// "metadata"}], "vectors": [[float]]}. No model is asked.

import { Document } from "@langchain/core/documents";
import { FakeEmbeddings } from "@langchain/core/utils/testing";
import { QdrantVectorStore } from "@langchain/qdrant";

const given = JSON.parse(process.argv[2]);
const store = new QdrantVectorStore(new FakeEmbeddings(), {
  url: given.url,
  apiKey: given.api_key,
  collectionName: given.collection,
  collectionConfig: { vectors: { size: given.vectors[0].length, distance: "Cosine" } },
});
const documents = given.documents.map((one) => new Document(one));
await store.addVectors(given.vectors, documents);
