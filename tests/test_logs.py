from __future__ import annotations
import logging
from typing import Any
import pytest
from task_fixtures import *  # noqa: F403
from task_helpers import Done, Log
from airflow_provider_census.operators.census import CensusTriggerSyncOperator as Op
from airflow_provider_census.sensors.census import CensusSyncRunSensor as S, CensusSyncSensor as SS
from airflow_provider_census.hooks.census import CensusHook

@pytest.fixture
def lines(monkeypatch):
    log = Log()
    for kind in (Op, S, SS, CensusHook):
        monkeypatch.setattr(kind, "log", log)
    from airflow_provider_census.triggers.base import WaitTrigger
    monkeypatch.setattr(WaitTrigger, "log", log, raising=False)
    return log


import time, threading, socket
W={"wait_for_completion": True}
def say(lines, what, done=None):
    print("=====", what, done and done.state, repr(str(done.error))[:300] if done and done.raised else "")
    for lv, l in lines.lines:
        print(f"{lv:8} {l}")
    lines.lines.clear()

def test_view(run_task, census, lines, monkeypatch):
    blocked = census.start_run(57)
    for d in (False,True):
        say(lines,"blocked", run_task(Op, sync_id=57, deferrable=d, **W))
    say(lines,"blocked skip", run_task(Op, sync_id=57, on_skipped_run="skip", **W))
    say(lines,"fail", run_task(Op, sync_id=57, if_running="fail"))
    say(lines,"join", run_task(Op, sync_id=57, if_running="join", timeout=0.05, **W))
    say(lines,"wait", run_task(Op, sync_id=57, if_running="wait", timeout=0.05, **W))
    say(lines,"wait deferred", run_task(Op, sync_id=57, if_running="wait", deferrable=True,timeout=0.05, **W))
    say(lines,"join not waiting", run_task(Op, sync_id=57, if_running="join"))
    say(lines,"sensor timeout", run_task(S, sync_run_id=blocked, timeout=0.05, poke_interval=0.01))
    say(lines,"sensor timeout deferred", run_task(S, sync_run_id=blocked, timeout=0.05, poke_interval=0.01, deferrable=True))
    say(lines,"sensor timeout soft", run_task(S, sync_run_id=blocked, timeout=0.05, poke_interval=0.01, soft_fail=True))
    say(lines,"sensor timeout soft deferred", run_task(S, sync_run_id=blocked, timeout=0.05, poke_interval=0.01, soft_fail=True, deferrable=True))
    say(lines,"sync sensor timeout", run_task(SS, sync_id=57, timeout=0.05, poke_interval=0.01, since="2030-01-01"))
    say(lines,"soft fail", run_task(S, sync_run_id=census.start_run(53), soft_fail=True, poke_interval=0.01))
    say(lines,"soft fail deferred", run_task(S, sync_run_id=census.start_run(53), soft_fail=True, deferrable=True))
    say(lines,"skip op", run_task(Op, sync_id=54, on_skipped_run="skip", **W))
    say(lines,"skip sensor", run_task(S, sync_run_id=census.start_run(54), on_skipped_run="skip"))
    say(lines,"404", run_task(Op, sync_id=404404, **W))
    say(lines,"bad arg", run_task(lambda: Op(task_id="task", sync_id="{{ 'x y' }}", **W)))
    say(lines,"too many", run_task(Op, sync_id=55, max_records_failed=1, **W))
    say(lines,"log 0", run_task(Op, sync_id=55, log_rejected_records=0, **W))
    say(lines,"no conn", run_task(Op, sync_id=55, census_conn_id="nope", **W))
    for k,o in ((Op,W),(Op,{**W,"deferrable":True}),(S,{}),(S,{"deferrable":True})):
        from airflow_provider_census.api.polling import WaitOptions
        token=census.token
        r = census.start_run(52) if k is S else None
        n=[0]
        orig=WaitOptions.interval
        def rej(*_,**__):
            census.token="other"
            return 0.001
        monkeypatch.setattr(WaitOptions,"interval",rej)
        monkeypatch.setattr(S,"_get_next_poke_interval",rej)
        if k is S and o: census.token="other"
        say(lines,f"401 {k.__name__} {o}", run_task(k, **({"sync_run_id":r} if k is S else {"sync_id":52}), **o))
        census.token=token
        monkeypatch.setattr(WaitOptions,"interval",orig)
