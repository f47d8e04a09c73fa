#include "plan/machine.h"

#include <gtest/gtest.h>

#include <cmath>

#include "plan/calibrate.h"
#include "plan/machine_chain.h"
#include "plan/machine_rows.h"
#include "plan/machine_step.h"
#include "plan/serve_plan.h"
#include "plan/setting.h"

namespace tw::plan {
namespace {

constexpr double kProduct = 1e-12;  ///< seconds of a multiply-add
constexpr double kNothing = 1e-30;  ///< what all else takes

/// Made up: products take kProduct for each row and weight. A power of rows and size is straight in log
/// space, so that what is between the points is exact.
MachineCurves made_up(std::vector<std::string> types, double others = kNothing) {
  MachineCurves m;
  m.processor = "made up, \"of\" two parts", m.kernels = "ref", m.threads = 2;
  m.teraflops = 1, m.memory_gb = 16, m.bandwidth_gbs = 10, m.usual = {1.25e-7, 5e11};
  for (const std::string& type : types) {
    for (const Measured kind :
         {Measured::kGeneratedProduct, Measured::kPromptProduct, Measured::kTrainProduct}) {
      for (const double rows : {1.0, 4096.0}) {
        for (const double size : {1.0, 1e9}) m.add({kind, type, 2, rows, size, 1, kProduct * rows * size});
      }
    }
  }
  for (int kind = 0; kind < kMeasuredKinds; ++kind) {
    if (kind > static_cast<int>(Measured::kTrainProduct))
      m.add({static_cast<Measured>(kind), "", 2, 1, 1, 1, others});
  }
  return m;
}

std::shared_ptr<const model::LoadedModel> stories() {
  auto loaded = model::LoadedModel::load(TW_SOURCE_DIR "/tests/data/models/stories260K.gguf", {});
  TW_CHECK(loaded.ok(), "the repository has this model");
  return *loaded;
}

TEST(Machine, AFileReadsBackAsItWasWritten) {
  MachineCurves m = made_up({"F32", "Q8_0"});
  m.set_between(StepKind::kPrompt, 2, {1e-5, 0, 3e-12});
  const auto again = MachineCurves::parse(m.text(), "here");
  ASSERT_TRUE(again.ok()) << again.error().text();
  EXPECT_EQ(again->text(), m.text());
  EXPECT_EQ(again->between(StepKind::kPrompt, 2).host, 1e-5);
  EXPECT_EQ(again->between(StepKind::kPrompt, 2).byte, 3e-12);
  EXPECT_EQ(again->between(StepKind::kPrompt, 1).host, 0);
  EXPECT_EQ(again->between(StepKind::kTrain, 2).host, 0);
  EXPECT_EQ(again->usual.barrier, 1.25e-7);
  EXPECT_EQ(again->usual.flops, 5e11);
  EXPECT_EQ(again->processor, m.processor);
  EXPECT_EQ(again->points().size(), m.points().size());
}

TEST(Machine, BetweenPointsIsStraightInLogSpaceAndBeyondThemInProportion) {
  MachineCurves m;
  for (const double rows : {1.0, 4.0}) {
    m.add({Measured::kPromptProduct, "Q8_0", 1, rows, 100, 1000, 1e-3 * rows});
    m.add({Measured::kPromptProduct, "Q8_0", 1, rows, 400, 1000, 2e-3 * rows});
    m.add({Measured::kPromptProduct, "Q8_0", 1, rows, 100, 1e6, 4e-3 * rows});
  }
  const auto at = [&](double rows, double size, double place) {
    return m.seconds(Measured::kPromptProduct, "Q8_0", 1, rows, size, place);
  };
  EXPECT_NEAR(at(1, 200, 1000), std::sqrt(2) * 1e-3, 1e-9);
  EXPECT_NEAR(at(2, 100, 1000), 2e-3, 1e-9);
  EXPECT_NEAR(at(1, 10, 1), 1e-3, 1e-9);    // what is smaller takes what the least does
  EXPECT_NEAR(at(8, 800, 1), 32e-3, 1e-9);  // twice the rows, twice the size
  EXPECT_NEAR(at(1, 100, std::sqrt(1e9)), 2e-3, 1e-9);
}

TEST(Machine, ServingIsTheSumOfItsOps) {
  const auto model = stories();
  const MachineCurves m = made_up({"F32"});
  // Counted by the loader, and not by the trace.
  const auto all = static_cast<double>(model->matmul_weights());
  const auto layers = static_cast<double>(model->layer_weights());
  const auto decode = predict_decode(m, *model, {2, 64, 32, 4});
  ASSERT_TRUE(decode.ok()) << decode.error().text();
  EXPECT_NEAR(*decode * kProduct * all, 1, 1e-9);  // four rows at once take as long as four
  const auto prefill = predict_prefill(m, *model, {2, 64, 32, 1});
  ASSERT_TRUE(prefill.ok()) << prefill.error().text();
  EXPECT_NEAR(64 / *prefill / (kProduct * (64 * layers + all - layers)), 1, 1e-9);  // one row's logits
}

TEST(Machine, OpsThatAreNoProductsAreCountedEach) {
  // Everything takes one second but the products: norms (two a layer and the last), rotation, attention,
  // activation, the table's rows, angles, the gathered rows, the likeliest token, and the step itself.
  const auto model = stories();
  const auto decode = predict_decode(made_up({"F32"}, 1), *model, {2, 1, 1, 1});
  ASSERT_TRUE(decode.ok()) << decode.error().text();
  const auto layers = static_cast<double>(model->config().layers);
  const std::vector<MachineOp> ops = trace_loaded(*model);
  double gathers = 0;
  for (const MachineOp& o : ops) gathers += o.op.name == "gather_rows" ? 1 : 0;
  double bytes = 0;  // sizes beyond the point at one take longer in proportion
  for (const MachineOp& o : ops) {
    if (o.op.kind == ops::OpKind::kRows && o.op.name != "residual") bytes += o.op.activation_bytes;
    if (o.op.kind == ops::OpKind::kAttention) bytes += o.op.flops / o.op.pairs * 2.5;
  }
  EXPECT_EQ(gathers, 1);
  EXPECT_GT(bytes, layers);
  EXPECT_NEAR(1 / *decode / (bytes + static_cast<double>(model->config().vocab) + 1), 1, 1e-9);
}

TEST(Machine, AStepHasItsHostsWorkAndAGapForEachOp) {
  // Counted by hand: norm, projections, rotation, attention, output, norm and two products a layer; the
  // table, angles, the gathered rows, the last norm and the head.
  const auto model = stories();
  const double ops = 8.0 * static_cast<double>(model->config().layers) + 5;
  const auto with = [&](StepKind kind, const Between& between) {
    MachineCurves m = made_up({"F32"});
    m.set_between(kind, 2, between);
    return m;
  };
  const MachineCurves answers = with(StepKind::kGenerated, {10, 1, 0});
  EXPECT_NEAR(3 / predict_decode(answers, *model, {2, 64, 32, 3}).value(), 10 + ops, 1e-3);
  EXPECT_NEAR(64 / predict_prefill(answers, *model, {2, 64, 32, 1}).value(), 0, 1e-3);
  const MachineCurves prompts = with(StepKind::kPrompt, {10, 1, 0});
  EXPECT_NEAR(64 / predict_prefill(prompts, *model, {2, 64, 32, 1}).value(), 10 + ops, 1e-3);
  // Bytes grow with the rows, but for what the head has of the last one alone.
  const auto bytes = [&](double rows) {
    return rows / predict_prefill(with(StepKind::kPrompt, {0, 0, 1}), *model,
                                  {2, static_cast<std::int64_t>(rows), 32, 1})
                      .value();
  };
  EXPECT_NEAR(bytes(65) - bytes(64), bytes(33) - bytes(32), 1e-3);
  // A row is read and written in fp32 by both norms of each layer at least.
  const double norms = 4.0 * sizeof(float) * static_cast<double>(model->config().width);
  EXPECT_GT(bytes(65) - bytes(64), norms * static_cast<double>(model->config().layers));
  // Two sequences with a key more each: what the cache has of it, in 16 bits, in each layer.
  const auto cached = [&](std::int64_t prompt) {
    return 2 / predict_decode(with(StepKind::kGenerated, {0, 0, 1}), *model, {2, prompt, 32, 2}).value();
  };
  const spec::ModelConfig& c = model->config();
  const auto head = static_cast<double>(kernels::kv_head_elements(base::DType::kF16, c.head_dim));
  EXPECT_NEAR(cached(65) - cached(64),
              2.0 * 2 * 2 * head / kernels::kKvBlock * static_cast<double>(c.kv_heads * c.layers), 1e-3);
  const auto trained = std::make_shared<const MachineCurves>(with(StepKind::kTrain, {1000, 1, 0}));
  // Two passes of four sequences; angles and the gathered rows are not counted in a pass of training.
  const double step = 8 * 64 / predict_training_speed(trained, model->config(), 64, 8, 4).value();
  EXPECT_GE(step, 1000 + 2 * 8.0 * static_cast<double>(model->config().layers));
  EXPECT_LE(step, 1000 + 2 * ops + 1e-3);
}

spec::ModelConfig chain_config(std::int64_t layers, std::int64_t width) {
  spec::ModelConfig c = stories()->config();
  c.layers = layers, c.width = width, c.head_dim = 16, c.heads = width / 16, c.kv_heads = c.heads;
  c.ffn_width = 3 * width;
  return c;
}

/// Steps of two kinds that take exactly what these numbers say, through the very sums that plans are made of.
std::vector<ChainStep> made_up_steps(const MachineCurves& m, const Between& answers, const Between& train) {
  MachineCurves truth = m;
  truth.set_between(StepKind::kGenerated, 2, answers);
  truth.set_between(StepKind::kTrain, 2, train);
  std::vector<ChainStep> steps;
  const auto add = [&](StepKind kind, const StepSeconds& predict) {
    steps.push_back(chain_step("a step", kind, 2, predict(truth).value(), m, predict).value());
  };
  for (const std::int64_t layers : {2, 6}) {
    for (const std::int64_t width : {64, 256}) {
      const spec::ModelConfig config = chain_config(layers, width);
      Tracer tracer(config);
      const auto ops = trace_planned(config, *tracer.get({}, {1, 1, 1}).value(), "F32");
      for (const double rows : {1.0, 16.0}) {
        add(StepKind::kGenerated, [&](const MachineCurves& c) -> base::Result<double> {
          return machine_seconds(c, ops, {rows, rows * 100, 0, 0, 0}, 2);
        });
        add(StepKind::kTrain, [&](const MachineCurves& c) -> base::Result<double> {
          const auto together = static_cast<std::int64_t>(rows);
          const auto curves = std::make_shared<const MachineCurves>(c);
          return 128 * rows / predict_training_speed(curves, config, 64, 2 * together, together).value();
        });
      }
    }
  }
  return steps;
}

void expect_between(const Between& found, const Between& truth) {
  EXPECT_NEAR(found.host, truth.host, 1e-6 * truth.host);
  EXPECT_NEAR(found.gap, truth.gap, 1e-6 * truth.gap);
  EXPECT_NEAR(found.byte, truth.byte, 1e-6 * truth.byte + 1e-17);
}

TEST(Machine, WhatLiesBetweenOpsIsFoundFromWholeSteps) {
  const Between answers{2e-5, 1.5e-6, 3e-11}, train{4e-3, 8e-5, 0};
  MachineCurves m = made_up({"F32"}, 1e-6);
  set_between(made_up_steps(m, answers, train), m);
  expect_between(m.between(StepKind::kGenerated, 2), answers);
  expect_between(m.between(StepKind::kTrain, 2), train);
  EXPECT_EQ(m.between(StepKind::kPrompt, 2).host, 0);  // no such step was run
}

TEST(Machine, AFewDisturbedStepsMoveLittle) {
  const Between truth{2e-5, 1.5e-6, 3e-11};
  const MachineCurves m = made_up({"F32"}, 1e-6);
  std::vector<ChainStep> steps = made_up_steps(m, truth, {});
  std::erase_if(steps, [](const ChainStep& s) { return s.kind != StepKind::kGenerated; });
  ASSERT_EQ(steps.size(), 8U);
  steps[3].seconds *= 1.6;
  const Between found = fit_between(steps);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const double measured = steps[i].seconds / (i == 3 ? 1.6 : 1);
    EXPECT_NEAR(steps[i].predicted(found) / measured, 1, 0.02) << i;
  }
}

TEST(Machine, NoNumberBetweenOpsIsBelowNothing) {
  ChainStep fast{"", StepKind::kPrompt, 2, 1e-3, 2e-3, 1, 10, 1e5}, slow = fast;
  slow.seconds = 5e-3, slow.gaps = 2000;  // without the rule, the host's work would be below 0
  const Between none = fit_between({fast});
  EXPECT_EQ(none.host + none.gap + none.byte, 0);
  const Between some = fit_between({fast, slow});
  EXPECT_GE(std::min({some.host, some.gap, some.byte}), 0);
  const double errors = std::pow(fast.predicted(some) / fast.seconds - 1, 2) +
                        std::pow(slow.predicted(some) / slow.seconds - 1, 2);
  EXPECT_LT(errors, 1 + 0.36);  // of the ops alone
}

TEST(Machine, PlansOfServingAndTrainingAreMadeOfTheSameCurves) {
  const auto path = testing::TempDir() + "machine_test.json";
  FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  const std::string text = made_up({"BF16"}).text();
  std::fwrite(text.data(), 1, text.size(), file);
  std::fclose(file);
  spec::ClusterSpec cluster;
  cluster.accelerator = "this-machine", cluster.accelerators = 1, cluster.calibration = path;
  PlannedModel model = *find_model(TW_SOURCE_DIR "/tests/data/models/stories260K.gguf");
  spec::ServeJob job;
  job.input = 64, job.output = 64, job.batch = 1;
  const auto setting = make_serve_setting(model, job, cluster);
  ASSERT_TRUE(setting.ok()) << setting.error().text();
  const auto answer = plan_serving(*setting);
  ASSERT_TRUE(answer.ok()) << answer.error().text();
  const auto all = static_cast<double>(stories()->matmul_weights());
  EXPECT_NEAR(answer->best.output_token / (kProduct * all), 1, 1e-6);
  EXPECT_EQ(setting->accelerator.source, path);

  const auto curves = MachineCurves::load(path);
  ASSERT_TRUE(curves.ok()) << curves.error().text();
  const auto speed = predict_training_speed(*curves, model.config, 64, 8, 4);
  ASSERT_TRUE(speed.ok()) << speed.error().text();
  EXPECT_NEAR(*speed * kProduct * all, 1, 1e-6);
  cluster.accelerators = 2;
  EXPECT_FALSE(make_serve_setting(model, job, cluster).ok());
}

TEST(Machine, WhatWasNotMeasuredNamesTheCommand) {
  const auto none = MachineCurves::load("/nowhere/calibration.json");
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("tokenworks plan calibrate"), std::string::npos);
  const auto decode = predict_decode(made_up({"Q8_0"}), *stories(), {2, 64, 32, 1});
  ASSERT_FALSE(decode.ok());
  EXPECT_NE(decode.error().message.find("calibrate --types F32 --threads 2"), std::string::npos)
      << decode.error().message;
  EXPECT_FALSE(predict_decode(made_up({"F32"}), *stories(), {3, 64, 32, 1}).ok());
}

TEST(Machine, AHostileFileIsOneClearLine) {
  MachineCurves made = made_up({"F32"});
  made.set_between(StepKind::kGenerated, 2, {0.5, 0, 0});
  const std::string good = made.text();
  ASSERT_TRUE(MachineCurves::parse(good, "f").ok());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    TW_CHECK(at != std::string::npos, "the text to be replaced is there");
    return text.replace(at, from.size(), to);
  };
  const std::pair<std::string, const char*> files[] = {
      {"", "f: "},
      {"[1]", "no calibration"},
      {"{\"format\":\"tokenworks calibration 4\"}", "no calibration"},
      {with("calibration 3", "calibration 1"), "is \"tokenworks calibration 1\", and this program's is"},
      {with("calibration 3", "calibration 2"), "is \"tokenworks calibration 2\", and this program's is"},
      {with("\"usual_barrier_s\":1.25e-07", "\"usual_barrier_s\":-1"), "\"usual_barrier_s\" is no number"},
      {with("\"usual_worker_tflops\":0.5", "\"usual_worker_tflops\":0"), "\"usual_worker_tflops\" is not"},
      {with("\"between\":[[", "\"between\":[7,["), "line 1 of \"between\" has not the 5 columns"},
      {with("[[\"generated\",2,", "[[\"guess\",2,"), "line 1 of \"between\" has a step"},
      {with("[[\"generated\",2,", "[[\"generated\",0,"), "line 1 of \"between\" has threads"},
      {with("[[\"generated\",2,0.5,", "[[\"generated\",2,-0.5,"), "line 1 of \"between\" has host"},
      {with("\"gap\"", "\"hole\""), "\"between_columns\""},
      {good.substr(0, good.size() / 2), "f: "},
      {with("\"threads\":2", "\"threads\":-2"), "\"threads\" is not a positive number"},
      {with("\"mem_gb\":16.0", "\"mem_gb\":1e999"), "f: "},
      {with("\"mem_gb\"", "\"mem\""), "there is no field \"mem\""},
      {with("\"processor\":", "\"processor\":1,\"x\":"), "\"x\""},
      {with("\"seconds\"]", "\"hours\"]"), "\"columns\""},
      {with("\"generated product\",\"F32\",2,", "\"guess\",\"F32\",2,"), "point 1 has a kind"},
      {with("\"generated product\",\"F32\",2,", "\"generated product\",7,2,"), "point 1 has a type"},
      {with("\"generated product\",\"F32\",2,", "\"generated product\",\"F32\",2.5,"), "point 1 has threads"},
      {with("\"F32\",2,1.0,1.0,", "\"F32\",2,1.0,-1.0,"), "point 1 has size"},
      {with("\"F32\",2,1.0,1.0,", "\"F32\",2,1.0,"), "point 1 has not the 7 columns"},
  };
  for (const auto& [text, part] : files) {
    const auto read = MachineCurves::parse(text, "f");
    ASSERT_FALSE(read.ok()) << text.substr(0, 80);
    const std::string said = read.error().text();
    EXPECT_NE(said.find(part), std::string::npos) << said;
    EXPECT_EQ(said.find('\n'), std::string::npos) << said;
  }
}

TEST(Machine, CalibratesInNoTimeWhatCanBeReadAgainAndPlannedWith) {
  CalibrateOptions options;
  options.threads = {1};
  options.types = {base::DType::kF32, base::DType::kQ4_K};
  options.seconds = 0.01;
  double done = 0;
  options.progress = [&](double to) {
    EXPECT_GE(to, done);
    done = to;
  };
  const auto measured = calibrate(options);
  ASSERT_TRUE(measured.ok()) << measured.error().text();
  EXPECT_EQ(done, 1);
  const auto again = MachineCurves::parse(measured->text(), "here");
  ASSERT_TRUE(again.ok()) << again.error().text();
  EXPECT_EQ(again->text(), measured->text());
  EXPECT_TRUE(again->has(Measured::kPromptProduct, "Q4_K", 1));
  EXPECT_FALSE(again->has(Measured::kPromptProduct, "Q8_0", 1));
  const auto decode = predict_decode(*again, *stories(), {1, 16, 16, 1});
  ASSERT_TRUE(decode.ok()) << decode.error().text();
  EXPECT_GT(*decode, 0);
  const auto trained =
      predict_training_speed(std::make_shared<const MachineCurves>(*again), stories()->config(), 64, 8, 4);
  ASSERT_TRUE(trained.ok()) << trained.error().text();
  EXPECT_GT(*trained, 0);
}

TEST(Machine, TheSetIsTheMeanErrorOfWhatIsPredicted) {
  const SetScore score = score_machine({{"a", 100, 110, {}}, {"b", 100, 95, {}}, {"c", 100, 0, "no curve"}});
  EXPECT_EQ(score.rows, 3);
  EXPECT_EQ(score.unpredicted, 1);
  EXPECT_NEAR(score.value, 7.5, 1e-9);
  EXPECT_TRUE(score.met);
  EXPECT_FALSE(score_machine({{"c", 100, 0, "no curve"}}).met);
}

}  // namespace
}  // namespace tw::plan
