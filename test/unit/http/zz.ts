import { startHttp, EXEC } from '../../support/http-server.ts';
import { archive, file } from '../../support/hostile-archives.ts';
import { DEFAULT_ARCHIVE_LIMITS } from '../../../src/archive/read-project.ts';
const MIB=2**20;
const s = await startHttp({ settings: { bodyBytesMax: 200*MIB, archiveLimits: DEFAULT_ARCHIVE_LIMITS }, program: async ({out, plan}) => { if (plan.args.includes('big')) { const b=Buffer.alloc(65536,'some line of text\n'); for (let i=0;i<1600;i++) { out(b); if (i%16===0) await new Promise(r=>setImmediate(r)); } } if (plan.args.includes('many')) for (let i=0;i<9000;i++) out('x\n'); } });
// upload
const parts = [file('main.py')]; for (let i=0;i<2000;i++) parts.push(file(`d/f${i}.bin`, Buffer.alloc(50_000, i%256)));
const t = Buffer.from(archive(...parts)); console.log('tar MB', t.length/1e6);
for (let n=0;n<3;n++) { const before=process.memoryUsage().rss; const t0=performance.now();
 let left=0; const src = new ReadableStream({ pull(c) { if (left>=t.length) { c.close(); return; } c.enqueue(t.subarray(left, left+65536)); left+=65536; } });
 const r = await fetch(s.url+EXEC, {method:'POST', body: src, duplex:'half', headers:{'content-type':'application/x-tar'}} as any); await r.text(); console.log('upload', r.status, (t.length/1e6/((performance.now()-t0)/1000)).toFixed(0),'MB/s', 'rss+', ((process.memoryUsage().rss-before)/1e6).toFixed(0)); }
for (const args of [['big'],['many']]) for (const accept of ['application/x-ndjson','text/event-stream']) { const t0=performance.now(); const r = await fetch(s.url+EXEC, {method:'POST', body: JSON.stringify({code:'', args}), headers:{'content-type':'application/json', accept}}); let n=0; for await (const c of r.body as any) n+=c.length; const ms=performance.now()-t0; console.log(args, accept, n/1e6,'MB', ms.toFixed(0),'ms', (n/1e6/(ms/1000)).toFixed(0), 'MB/s'); }
const lat:number[]=[]; for (let i=0;i<400;i++) { const t0=performance.now(); await (await fetch(s.url+EXEC, {method:'POST', body: '{"code":""}', headers:{'content-type':'application/json'}})).text(); lat.push(performance.now()-t0); } lat.sort((a,b)=>a-b); console.log('json p50', lat[200], 'p99', lat[396]);
const l2:number[]=[]; for (let i=0;i<200;i++) { const t0=performance.now(); await (await fetch(s.url+'/health')).text(); l2.push(performance.now()-t0); } l2.sort((a,b)=>a-b); console.log('health p50', l2[100]);
await s[Symbol.asyncDispose]();
