#pragma once

#include "launcher/options.h"
#include "launcher/session/session.h"

/// One function a command; each throws an Error where it cannot do what was asked.
namespace dtrain::launcher {

void run_compare(const Options& options, const Session& session);
void run_diagnose(const Options& options, const Session& session);
void run_train(const Options& options, const Session& session);
void run_evaluate(const Options& options, const Session& session);
void run_predict(const Options& options, const Session& session);
void run_merge(const Options& options, const Session& session);
void run_extract(const Options& options, const Session& session);
void run_estimate(const Options& options, const Session& session);
void run_inspect(const Options& options, const Session& session);
void run_methods(const Options& options, const Session& session);
void run_report(const Options& options, const Session& session);
void run_bench(const Options& options, const Session& session);

}  // namespace dtrain::launcher
