import {build} from "esbuild";
await build({entryPoints:["http-server","tunnel-server","tunnel-client","gateway-server","gateway-client"].map(f=>new URL(f+".ts",import.meta.url).pathname).filter(f=>(await_exists(f))),bundle:true,define:{"import.meta.dirname":JSON.stringify(new URL("..",import.meta.url).pathname)},platform:"node",target:"node20",format:"esm",packages:"external",outdir:new URL("../.tmp/conformance",import.meta.url).pathname,outExtension:{".js":".mjs"},sourcemap:"inline"});
import {existsSync} from "node:fs"; function await_exists(f){return existsSync(f)}
